// A dense matrix times a vector in single precision, the same bit for bit on every CPU level.
#pragma once

namespace veloxquant {

// Rows are padded to a multiple of this many floats.
inline constexpr int kMatrixPad = 16;

// y[j] = sum over i of matrix[i * stride + j] * x[i], j < columns: each product is rounded, then added, in
// order of i. stride is a multiple of kMatrixPad and at least `columns`; y must not overlap x or the matrix.
void combine_rows(const float* matrix, int rows, int columns, int stride, const float* x, float* y);

}  // namespace veloxquant
