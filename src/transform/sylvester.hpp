// Products with Sylvester's Hadamard matrices, the same bit for bit on every CPU level.
//
// H_n x for a power of two n is log2(n) stages of sums and differences of coordinates that lie n / 2, n /
// 4, .. 1 apart, in this order: every value has one tree of operations whatever the width of the registers
// that hold it.
#pragma once

#include <cstddef>
#include <span>

namespace veloxquant {

// x = H_n x in place; n is a power of two.
void multiply_sylvester(float* x, int n);

// For each of `count` rows of n coordinates, y = H_n D_r .. H_n D_1 x, D_i the diagonal matrix of the n
// numbers factors[i - 1]. The arrays do not overlap.
void multiply_sylvester_rounds(const float* x, std::size_t count, int n,
                               std::span<const float* const> factors, float* y);

}  // namespace veloxquant
