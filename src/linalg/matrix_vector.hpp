// Dense products with vectors in single precision, the same bit for bit on every CPU level.
#pragma once

namespace veloxquant {

// Matrix rows are padded to a multiple of this many floats.
inline constexpr int kMatrixPad = 16;

constexpr int padded_columns(int columns) { return (columns + kMatrixPad - 1) / kMatrixPad * kMatrixPad; }

// For each v < count:  y[v, j] = sum over i of x[v, i] * matrix[i, j]. Each product is rounded, then added,
// in order of i. x [count, rows] and y [count, columns] are dense, the matrix is [rows,
// padded_columns(columns)]. Up to kMatrixPad - 1 floats behind y are overwritten; y overlaps neither x nor
// the matrix.
void multiply_rows(const float* x, int count, const float* matrix, int rows, int columns, float* y);

}  // namespace veloxquant
