// The ranks of an MPI job; the one place of the project that knows MPI.
#pragma once

#include <memory>
#include <veloxquant/eval/communicator.hpp>

namespace veloxquant::cli {

// MPI lives as long as the object, and once in a process.
std::unique_ptr<Communicator> mpi_communicator();

}  // namespace veloxquant::cli
