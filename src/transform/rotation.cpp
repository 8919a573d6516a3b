#include <veloxquant/transform/rotation.hpp>

#include "linalg/matrix_vector.hpp"
#include "linalg/qr.hpp"
#include "transform/head_dim.hpp"
#include "transform/random.hpp"

namespace veloxquant {

HaarRotation::HaarRotation(int head_dim, std::uint64_t seed)
    : head_dim_(head_dim), stride_((head_dim + kMatrixPad - 1) / kMatrixPad * kMatrixPad) {
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

void HaarRotation::apply_row(const float* x, float* y) const {
  combine_rows(by_input_.data(), head_dim_, head_dim_, stride_, x, y);
}

void HaarRotation::inverse_row(const float* y, float* x) const {
  combine_rows(by_output_.data(), head_dim_, head_dim_, stride_, y, x);
}

float HaarRotation::at(int row, int column) const {
  return by_output_[static_cast<std::size_t>(row) * static_cast<std::size_t>(stride_) +
                    static_cast<std::size_t>(column)];
}

}  // namespace veloxquant
