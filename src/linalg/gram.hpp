// Sums of outer products, for second moments: single precision within a block of rows, double across blocks.
#pragma once

#include <cstddef>

namespace veloxquant {

// sums[i, j] += sum over v < count of rows[v, i] * rows[v, j];  rows [count, n] dense, sums [n, n]. The same
// bit for bit on every CPU level.
void add_gram(const float* rows, std::size_t count, int n, double* sums);

}  // namespace veloxquant
