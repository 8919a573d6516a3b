// The rows of block kernels: how many they are made for, and how far apart rows of sums are.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "attention/attend_run.hpp"
#include "attention/block_kernels.hpp"

namespace veloxquant {

// A call with fewer rows carries zero rows along.
constexpr int kernel_row_width(int rows) noexcept {
  return rows <= 1 ? 1 : rows <= 2 ? 2 : rows <= 4 ? 4 : 8;
}

// call.operator()<W>() for the width W of so many rows.
template <class Call>
inline void with_row_width(int rows, const Call& call) {
  switch (kernel_row_width(rows)) {
    case 1:
      return call.template operator()<1>();
    case 2:
      return call.template operator()<2>();
    case 4:
      return call.template operator()<4>();
    default:
      return call.template operator()<8>();
  }
}

// The nearest whole number of |x| < 2^22, ties to even: what is left of it beside 3 * 2^22. The library's function is
// a call a number, which shows in the preparation of queries.
inline std::int32_t nearest(float x) noexcept {
  return std::bit_cast<std::int32_t>(x + 12582912.0f) - 0x4b400000;
}

// The largest magnitude among numbers whose count is a multiple of 4; in four chains, as one waits for itself.
inline float largest_magnitude(const float* numbers, std::size_t count) noexcept {
  float largest[4] = {};
  for (std::size_t i = 0; i < count; i += 4) {
    for (std::size_t k = 0; k < 4; ++k) largest[k] = std::max(largest[k], std::abs(numbers[i + k]));
  }
  return std::max(std::max(largest[0], largest[1]), std::max(largest[2], largest[3]));
}

// How a level multiplies what 8 bits would round too much: in high and low bytes, or in words of 16 bits.
enum class Operands : std::uint8_t { bytes, words };

// Where operands of 16 bits are multiplied, the four of a quad stand as the even ones, then the odd ones,
// because that is how bytes come apart. The place of dimension `dim` of a row among queries
// [quad][row of `width`][4].
constexpr std::size_t query_word_place(std::size_t dim, std::size_t row, std::size_t width) noexcept {
  return (dim / 4 * width + row) * 4 + dim % 2 * 2 + dim % 4 / 2;
}

inline std::size_t sum_stride(const ValueKernel& kernel) noexcept {
  return kernel.stride > 0 ? kernel.stride : padded_row(kernel.spec.head_dim);
}

}  // namespace veloxquant
