// The numbers that define the trellis search, shared by the vectorized encoder and the scalar reference.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "codebook/trellis.hpp"

namespace veloxquant::trellis {

inline constexpr float kScale = 4096.0F;  // units of inputs and table values: 1/4096 standard deviation
inline constexpr int kLimit = 16383;      // their largest magnitude: a difference of two fits 16 bits

// The cost of a difference d is d * d / 2^15, rounded: 1/512 of the variance. At 4 bits the error is so small
// beside that unit that the second factor is doubled (and saturates), which lowers the distortion by 1 %.
inline constexpr int kSharpBits = 4;

// Metrics are 16-bit and saturate. The smallest is subtracted from all after every eighth element.
inline constexpr int kRenormalizeEvery = 8;
inline constexpr std::uint16_t kUnreachable = 0xFFFF;

// Codes shorter than this take the best of all seams; longer ones the seam that a first pass finds.
inline constexpr int kSeamFrom = 64;

// Elements on each side of the seam that the first pass looks at, going round more than once if need be. A
// choice of k bits acts on 8 / k elements, yet the best path settles slowly: at n = 128 half as many cost .4
// to 1 % more distortion.
constexpr int seam_reach(int bits) {
  constexpr std::array kReach = {96, 48, 32, 24};
  return kReach[static_cast<std::size_t>(bits - 1)];
}

// The element at which the first pass starts.
constexpr int seam_run_start(int bits, int n) {
  const int past = seam_reach(bits) % n;
  return past == 0 ? 0 : n - past;
}

// Vectors that the vectorized search takes together, at most.
inline constexpr int kMostTogether = 4;

// Its working memory, every part aligned to 64 bytes: for each of those vectors its input and its trace.
struct Scratch {
  std::int16_t* input;  // n each
  std::uint8_t* trace;  // by element of the longer run: which branches won, 2^(8 - bits) bytes at most
  std::ptrdiff_t input_stride;  // between the inputs of two vectors
  std::size_t trace_stride;
};

// Throws ConfigError unless bits is 1, 2, 3 or 4, ShapeError unless a code of n elements exists.
void check_bits(const char* operation, int bits);
void check_length(const char* operation, int n);

extern const std::array<TrellisTable, 4> kTables;  // by bits - 1

}  // namespace veloxquant::trellis
