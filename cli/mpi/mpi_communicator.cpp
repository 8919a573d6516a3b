#include "mpi/mpi_communicator.hpp"

#include <mpi.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <new>

#include "command.hpp"

namespace veloxquant::cli {
namespace {

// A call that fails ends the whole job with MPI's own message (MPI_ERRORS_ARE_FATAL, the default).
class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator() {
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
  }
  ~MpiCommunicator() override { MPI_Finalize(); }
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const noexcept override { return rank_; }
  int size() const noexcept override { return size_; }

 protected:
  void broadcast(int from, std::optional<Part>& part) override {
    constexpr std::int64_t kFailed = -1, kPiece = std::int64_t{1} << 27;  // counts of MPI are int
    std::int64_t count = part ? static_cast<std::int64_t>(part->size()) : kFailed;
    MPI_Bcast(&count, 1, MPI_INT64_T, from, MPI_COMM_WORLD);
    if (count == kFailed) return part.reset();
    if (from != rank_) resize(part, count);
    for (std::int64_t at = 0; at < count; at += kPiece) {
      MPI_Bcast(part->data() + at, static_cast<int>(std::min(kPiece, count - at)), MPI_DOUBLE, from,
                MPI_COMM_WORLD);
    }
  }

 private:
  // The others are in the same broadcast and would wait for ever.
  static void resize(std::optional<Part>& part, std::int64_t count) {
    try {
      part.emplace(static_cast<std::size_t>(count));
    } catch (const std::bad_alloc&) {
      std::fputs("veloxquant: out of memory for what another rank has found out\n", stderr);
      MPI_Abort(MPI_COMM_WORLD, kEnvironment);
    }
  }

  int rank_ = 0, size_ = 1;
};

}  // namespace

std::unique_ptr<Communicator> mpi_communicator() { return std::make_unique<MpiCommunicator>(); }

}  // namespace veloxquant::cli
