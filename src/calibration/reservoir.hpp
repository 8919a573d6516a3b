// RowReservoir: a uniform sample of the rows of a stream, in bounded memory (Vitter 1985, algorithm R).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "transform/random.hpp"

namespace veloxquant {

class RowReservoir {
 public:
  // Holds up to `capacity` rows of `dim` floats. The same rows in the same order and the same seed give the same
  // sample.
  RowReservoir(int dim, std::size_t capacity, std::uint64_t seed);

  void add(const float* rows, std::size_t count);
  std::size_t rows() const noexcept { return rows_.size() / dim_; }
  std::size_t seen() const noexcept { return seen_; }
  std::span<const float> data() const noexcept { return rows_; }
  // The largest magnitude of each coordinate among all rows seen.
  std::span<const float> largest() const noexcept { return largest_; }

 private:
  std::size_t dim_, capacity_, seen_ = 0;
  SplitMix64 random_;
  std::vector<float> rows_, largest_;
};

}  // namespace veloxquant
