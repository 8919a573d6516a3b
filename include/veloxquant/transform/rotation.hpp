// HaarRotation: a dense rotation drawn uniformly from all orthogonal matrices.
//
// The QR decomposition of a matrix of independent normal numbers, with the signs of R's diagonal made
// positive, gives Q the Haar distribution (Mezzadri, arXiv:math-ph/0609050). It is the rotation of
// TurboQuant's analysis; the randomized Hadamard transform does the same to data in less time and memory.
//
// The matrix is made in double precision and rounded to float, and the seed's normal numbers come from
// portable arithmetic; rows are applied in one fixed order of operations on every CPU level. Orthogonal to
// float rounding; inverse multiplies by the transposed matrix.
#pragma once

#include <cstdint>
#include <vector>

#include <veloxquant/transform/row_transform.hpp>

namespace veloxquant {

class HaarRotation final : public RowTransform {
 public:
  // head_dim even, 2 to 4096. Throws ConfigError. Takes about head_dim^3 operations.
  HaarRotation(int head_dim, std::uint64_t seed);

  int head_dim() const noexcept override { return head_dim_; }
  // y_j = sum_i matrix[j, i] x_i, terms added in order of i.
  void apply_row(const float* x, float* y) const override;
  void inverse_row(const float* y, float* x) const override;
  std::size_t nbytes() const noexcept override {
    return sizeof(float) * (by_input_.size() + by_output_.size());
  }

  // Entry [row, column].
  float at(int row, int column) const;

 private:
  void multiply(const std::vector<float>& matrix, const float* x, float* y) const;

  int head_dim_;
  int stride_;                    // head_dim rounded up to a multiple of 16
  std::vector<float> by_input_;   // [input coordinate, stride]: columns of the matrix
  std::vector<float> by_output_;  // [output coordinate, stride]: rows
};

}  // namespace veloxquant
