// Processes that calibrate together, each on its share of the text, and reach the same statistics as one
// alone.
//
// They are the ranks 0 .. size - 1 and meet in rounds: in a round every rank gives its part, and each has the
// parts of all. All come to the same rounds in the same order. A rank that has failed says so in the round
// that the others are in or come to, and ends all of them, so that none waits for one that is gone.
//
// The library starts no processes. A program whose processes can broadcast to each other derives a class from
// this one; the command has one for MPI (`mpirun -n 4 veloxquant precompute ...`).
#pragma once

#include <functional>
#include <optional>
#include <stdexcept>
#include <vector>

namespace veloxquant {

// Thrown at all ranks but the one that has failed, which alone says why.
class RankFailed final : public std::runtime_error {
 public:
  explicit RankFailed(int rank);
  int rank() const noexcept { return rank_; }

 private:
  int rank_;
};

class Communicator {
 public:
  using Part = std::vector<double>;

  virtual ~Communicator() = default;
  virtual int rank() const noexcept = 0;
  virtual int size() const noexcept = 0;

  // A round: `take` is called with the parts of ranks 0, 1, ... in this order, at every rank. Throws
  // RankFailed when one of them has failed, and what `take` throws once the round is over.
  void exchange(Part part, const std::function<void(int rank, const Part& part)>& take);
  // A round in which this rank says that it has failed. Returns the first rank to say so: one of them is
  // enough to tell the user why.
  int fail();

 protected:
  // Called at all ranks: `part` as rank `from` has it. Nothing: that rank has failed.
  virtual void broadcast(int from, std::optional<Part>& part) = 0;
};

// A process by itself: rank 0 of 1.
class Alone final : public Communicator {
 public:
  int rank() const noexcept override { return 0; }
  int size() const noexcept override { return 1; }

 protected:
  void broadcast(int, std::optional<Part>&) override {}
};

}  // namespace veloxquant
