// Processes that mpirun has started together.
#pragma once

#include <functional>
#include <memory>
#include <veloxquant/eval/communicator.hpp>

namespace veloxquant::cli {

// This process's rank as mpirun tells it before anything is set up; 0 without mpirun.
int launched_rank();

// The ranks that mpirun has started, or this process alone. Throws UnsupportedError, at rank 0, where there
// are others and the command was built without MPI; RankFailed at the others.
std::unique_ptr<Communicator> join_ranks();

// Does `work` at all ranks and waits for all; what one of them throws is thrown there, and RankFailed at the
// others.
void together(Communicator& ranks, const std::function<void()>& work);

}  // namespace veloxquant::cli
