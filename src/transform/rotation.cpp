#include <veloxquant/transform/rotation.hpp>

#include <cstring>

#include "linalg/matrix_vector.hpp"
#include "linalg/qr.hpp"
#include "transform/head_dim.hpp"
#include "transform/random.hpp"

namespace veloxquant {

HaarRotation::HaarRotation(int head_dim, std::uint64_t seed)
    : head_dim_(head_dim), stride_(padded_columns(head_dim)) {
  require_head_dim(head_dim, "haar");
  const auto d = static_cast<std::size_t>(head_dim), stride = static_cast<std::size_t>(stride_);
  NormalSource normal(seed);
  std::vector<double> gaussian(d * d);
  for (double& entry : gaussian) entry = normal.next();
  const std::vector<double> q = orthogonal_factor(gaussian, head_dim);

  by_input_.resize(d * stride);
  by_output_.resize(d * stride);
  for (std::size_t row = 0; row < d; ++row)
    for (std::size_t column = 0; column < d; ++column)
      by_output_[row * stride + column] = by_input_[column * stride + row] =
          static_cast<float>(q[row * d + column]);
}

void HaarRotation::apply_row(const float* x, float* y) const { multiply(by_input_, x, y); }
void HaarRotation::inverse_row(const float* y, float* x) const { multiply(by_output_, y, x); }

void HaarRotation::multiply(const std::vector<float>& matrix, const float* x, float* y) const {
  float padded[kMaxHeadDim + kMatrixPad];
  multiply_rows(x, 1, matrix.data(), head_dim_, head_dim_, padded);
  std::memcpy(y, padded, sizeof(float) * static_cast<std::size_t>(head_dim_));
}

float HaarRotation::at(int row, int column) const {
  return by_output_[static_cast<std::size_t>(row) * static_cast<std::size_t>(stride_) +
                    static_cast<std::size_t>(column)];
}

}  // namespace veloxquant
