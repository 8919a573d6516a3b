// RowReservoir: a uniform sample of the rows of a text, in bounded memory.
//
// Every row has a number of its own, and a priority that the seed draws for this number; the rows of least
// priority are held (bottom-k sampling, Cohen and Kaplan 2007). So the sample depends on the set of rows
// alone, and those of two halves of a text merge to that of the whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "calibration/state.hpp"

namespace veloxquant {

class RowReservoir {
 public:
  // Holds up to `capacity` rows of `dim` floats.
  RowReservoir(int dim, std::size_t capacity, std::uint64_t seed);

  // Rows number `first`, `first` + 1, ..., below 2^53.
  void add(const float* rows, std::size_t count, std::uint64_t first);
  // Rows of other numbers, with the same dimensions, capacity and seed.
  void merge(const RowReservoir& other);

  std::size_t rows() const noexcept { return held_.size(); }
  // The rows held, [rows, dim], by number.
  std::vector<float> sample() const;
  // The largest magnitude of each coordinate among all rows added.
  const std::vector<float>& largest() const noexcept { return largest_; }

  void save(StateWriter& out) const;
  void restore(StateReader& in);

 private:
  struct Held {
    std::uint64_t priority, number;
    std::size_t place;  // in rows_
    friend bool operator<(const Held& a, const Held& b) noexcept {
      return a.priority != b.priority ? a.priority < b.priority : a.number < b.number;
    }
  };
  void offer(const float* row, std::uint64_t number);
  std::vector<Held> by_number() const;

  std::size_t dim_, capacity_;
  std::uint64_t seed_;
  std::vector<Held> held_;  // a heap, the largest priority first
  std::vector<float> rows_, largest_;
};

}  // namespace veloxquant
