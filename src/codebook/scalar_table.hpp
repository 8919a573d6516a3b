// ScalarTable: the values of a scalar codebook and the index of the nearest one in constant time.
//
// The search works on |x|. The axis is cut into cells of width 2^-k, narrow enough to hold one threshold at
// most, so a look-up of the cell's first threshold and one comparison give the index without a branch:
//
//     |x|        0 ......|.......|..t0...|.......|.t1....|.......      cells, thresholds t0 < t1 < ...
//     first[]    0       0       0       1       1       2             thresholds below the cell
//     level      first + (|x| > t[first])
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "codebook/density.hpp"

namespace veloxquant {

struct ScalarTable {
  // All ones for a negative x (-0 included): half + (level ^ mask) then mirrors the level, for half + ~level
  // is half - 1 - level.
  static unsigned sign_mask(float x) noexcept {
    return static_cast<unsigned>(std::bit_cast<std::int32_t>(x) >> 31);
  }

  // `half` holds the positive centroids, ascending; they are rounded to multiples of 2^-20.
  ScalarTable(std::vector<double> half, const Density& density);

  std::uint8_t index(float x) const noexcept {
    const float magnitude = std::fabs(x), at = magnitude * cells_per_unit;
    const unsigned first = first_level[static_cast<unsigned>(at < last_cell ? at : last_cell)];
    const unsigned level = first + (magnitude > levels[first]);
    return static_cast<std::uint8_t>(half_count + (level ^ sign_mask(x)));
  }
  // The indices of x[0..count) and, in y, their centroids.
  void quantize(const float* x, int count, std::uint8_t* index, float* y) const;

  int bits = 0;
  std::shared_ptr<const std::vector<float>> centroids;  // 2^bits, ascending
  std::vector<float> thresholds;                        // midpoints
  double distortion = 0;

  // For index(): the positive thresholds and an infinite one behind them, and the cells.
  unsigned half_count = 0;
  std::vector<float> levels;
  float cells_per_unit = 1, last_cell = 0;
  std::vector<std::uint8_t> first_level;

  // For quantize() in registers, where half has at most 8 values: those values, and for the steps 4, 2, 1
  // of a search by halving (those below half) the threshold to compare with at each level found until then.
  using Register = std::array<float, 16>;
  Register positive_values{};
  std::array<Register, 3> halvings{};

 private:
  void fill_registers();
  void cut_cells();
};

// Solved at the first call for each (bits, head_dim) and kept. Throws ConfigError unless bits is 1..8.
std::shared_ptr<const ScalarTable> lloyd_max_table(int bits, int head_dim);
std::shared_ptr<const ScalarTable> uniform_table(int bits);

}  // namespace veloxquant
