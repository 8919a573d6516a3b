// The rows of block kernels: how many they are made for, and how far apart rows of sums are.
#pragma once

#include <cstddef>

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
