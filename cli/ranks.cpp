#include "ranks.hpp"

#include <cstdlib>
#include <initializer_list>
#include <veloxquant/core/error.hpp>

#ifdef VELOXQUANT_WITH_MPI
#include "mpi/mpi_communicator.hpp"
#endif

namespace veloxquant::cli {
namespace {

// The first of these environment variables that is a number: those of Open MPI's mpirun, and of MPICH's.
int number_of(std::initializer_list<const char*> variables, int otherwise) {
  for (const char* variable : variables) {
    if (const char* text = std::getenv(variable)) return std::atoi(text);
  }
  return otherwise;
}

}  // namespace

int launched_rank() { return number_of({"OMPI_COMM_WORLD_RANK", "PMI_RANK"}, 0); }

std::unique_ptr<Communicator> join_ranks() {
  if (number_of({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}, 1) < 2) return std::make_unique<Alone>();
#ifdef VELOXQUANT_WITH_MPI
  return mpi_communicator();
#else
  if (launched_rank() > 0) throw RankFailed(0);
  throw UnsupportedError("mpi",
                         "mpirun has started several processes, and this command was built without MPI "
                         "(CMake option VELOXQUANT_MPI)");
#endif
}

void together(Communicator& ranks, const std::function<void()>& work) {
  try {
    work();
    ranks.exchange({}, [](int, const Communicator::Part&) {});
  } catch (const RankFailed&) {
    throw;
  } catch (...) {
    if (const int first = ranks.fail(); first != ranks.rank()) throw RankFailed(first);
    throw;
  }
}

}  // namespace veloxquant::cli
