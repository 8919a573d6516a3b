#include <veloxquant/eval/communicator.hpp>

#include <fmt/format.h>

#include <exception>
#include <utility>

namespace veloxquant {

RankFailed::RankFailed(int rank) : std::runtime_error(fmt::format("rank {} has failed", rank)), rank_(rank) {}

void Communicator::exchange(Part part, const std::function<void(int rank, const Part& part)>& take) {
  std::exception_ptr failed;  // the others are still in this round
  for (int from = 0; from < size(); ++from) {
    std::optional<Part> given;
    if (from == rank()) given = std::exchange(part, {});
    broadcast(from, given);
    if (!given) throw RankFailed(from);
    if (failed) continue;
    try {
      take(from, *given);
    } catch (...) {
      failed = std::current_exception();
    }
  }
  if (failed) std::rethrow_exception(failed);
}

int Communicator::fail() {
  for (int from = 0; from <= rank(); ++from) {
    std::optional<Part> given;
    broadcast(from, given);
    if (!given) return from;
  }
  return rank();
}

}  // namespace veloxquant
