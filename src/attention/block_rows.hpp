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

inline std::size_t sum_stride(const ValueKernel& kernel) noexcept {
  return kernel.stride > 0 ? kernel.stride : padded_row(kernel.spec.head_dim);
}

}  // namespace veloxquant
