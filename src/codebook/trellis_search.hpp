// The numbers that define the trellis search, shared by the vectorized encoder and the scalar reference.
#pragma once

#include <algorithm>
#include <cstdint>

#include "codebook/trellis.hpp"

namespace veloxquant::trellis {

inline constexpr float kScale = 4096.0F;  // units of inputs and table values: 1/4096 standard deviation
inline constexpr int kLimit = 16383;      // their largest magnitude: a difference of two fits 16 bits

// The cost of a difference d is the high half of d * d, rounded: 1/512 of the variance. At 4 bits the error is so
// small beside that unit that the second factor is doubled (and saturates), which lowers the distortion by 1 %.
inline constexpr int kSharpBits = 4;

// Metrics are 16-bit and saturate. The smallest is subtracted from all after every eighth element.
inline constexpr int kRenormalizeEvery = 8;
inline constexpr std::uint16_t kUnreachable = 0xFFFF;

// Elements on each side of the seam that the first pass looks at: several times the 8 / k elements that a bit acts on.
inline int seam_reach(int bits, int n) {
  constexpr int kReach[] = {0, 96, 48, 32, 24};
  return std::min(n / 2, kReach[bits]);
}

// Working memory of one encoder call, each part aligned to 64 bytes.
struct Scratch {
  std::int16_t* input;  // n + n / 2
  std::uint8_t* trace;  // n << (8 - k): the best predecessor of each group after each element
};

// Throws ShapeError unless a code of n elements exists.
void check_length(const char* operation, int n);

}  // namespace veloxquant::trellis
