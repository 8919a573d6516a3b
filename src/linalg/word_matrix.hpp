// WordMatrix: products with a constant matrix in 16-bit words.
//
// Columns are rounded with a step of their own, rows of x by the caller (round_to_words), and their integer
// products are exact, so the result is the same on every CPU level. With both norms kept where 32-bit sums
// cannot overflow,
//
//     |y_j - <x, m_j>|  =  1e-5 |x| |m_j|, root mean square,
//
// whatever outliers x and the matrix have; the error of bytes would grow with the largest entry.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace veloxquant {

// The norm of a row of words, at most: a row is rounded with the step |x| / kWordNorm.
inline constexpr float kWordNorm = 32767.0f;

class WordMatrix {
 public:
  WordMatrix() = default;
  // matrix [rows, padded_columns(columns)] as in matrix_vector.hpp; an even number of rows.
  WordMatrix(const float* matrix, int rows, int columns);

  // From a row of y to the next: padded_columns(columns).
  std::size_t stride() const noexcept { return steps_.size(); }
  std::size_t nbytes() const noexcept {
    return sizeof(std::int16_t) * words_.size() + sizeof(float) * steps_.size();
  }
  std::size_t pairs() const noexcept { return static_cast<std::size_t>(pairs_); }
  // Rows x [count, dims] -> their words [count, pairs()] and steps [count]; dims is the matrix's rows, or one
  // less.
  void round_rows(const float* x, int dims, int count, std::int32_t* words, float* steps) const;
  // y[v, j] = steps[v] * sum over i of x[v, i] * matrix[i, j] for v < count; x [count, rows / 2] holds two
  // words each, the first in the lower half.
  void multiply(const std::int32_t* x, const float* steps, int count, float* y) const;

 private:
  int pairs_ = 0;
  std::vector<std::int16_t> words_;  // [panel of kMatrixPad columns][pair of rows][column][2]
  std::vector<float> steps_;         // of the columns
};

}  // namespace veloxquant
