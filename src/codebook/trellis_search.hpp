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
  std::int16_t* input;   // n each
  std::uint8_t* trace;   // by element of the longer run: which branches won, 2^(8 - bits) bytes at most
  std::uint16_t* costs;  // of short codes: by element, 256 each
  std::ptrdiff_t input_stride;  // between the inputs of two vectors
  std::size_t trace_stride;
};

// Lower bounds of what the cycles through each of `groups` groups cost, from two laps without a seam: what the metrics
// are after the first and, in `bounds`, after the second, each less the number given. Replaces the bounds by themselves
// less the number returned, below kUnreachable.
inline std::uint32_t join_bounds(const std::uint16_t* first, std::uint32_t of_first, std::uint16_t* bounds,
                                 std::uint32_t of_second, int groups) {
  std::uint32_t joined[128], least = ~0U;
  for (int g = 0; g < groups; ++g) {
    const std::uint32_t whole = of_first + first[g], second = of_second + bounds[g];
    joined[g] = second > whole + first[g] ? second - first[g] : whole;
    least = joined[g] < least ? joined[g] : least;
  }
  for (int g = 0; g < groups; ++g) {
    const std::uint32_t above = joined[g] - least;
    bounds[g] = static_cast<std::uint16_t>(above < kUnreachable ? above : kUnreachable - 1);
  }
  return least;
}

// Throws ConfigError unless bits is 1, 2, 3 or 4, ShapeError unless a code of n elements exists.
void check_bits(const char* operation, int bits);
void check_length(const char* operation, int n);

extern const std::array<TrellisTable, 4> kTables;  // by bits - 1

}  // namespace veloxquant::trellis
