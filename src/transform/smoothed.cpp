#include "transform/smoothed.hpp"

#include <algorithm>
#include <utility>

#include "transform/head_dim.hpp"

namespace veloxquant {

SmoothedTransform::SmoothedTransform(std::vector<float> factors, std::shared_ptr<const RowTransform> rotation)
    : factors_(std::move(factors)), rotation_(std::move(rotation)) {
  for (const float factor : factors_) inverses_.push_back(1 / factor);
}

void SmoothedTransform::apply_rows(const float* x, std::size_t count, float* y) const {
  const std::size_t dims = factors_.size(), most = kMaxHeadDim / dims;
  float smooth[kMaxHeadDim];
  for (std::size_t here; count > 0; count -= here, x += here * dims, y += here * dims) {
    here = std::min(count, most);
    for (std::size_t i = 0; i < here * dims; ++i) smooth[i] = x[i] * inverses_[i % dims];
    rotation_->apply_rows(smooth, here, y);
  }
}

void SmoothedTransform::inverse_row(const float* y, float* x) const {
  rotation_->inverse_row(y, x);
  for (std::size_t c = 0; c < factors_.size(); ++c) x[c] *= factors_[c];
}

void SmoothedTransform::apply_query_row(const float* q, float* out) const {
  float scaled[kMaxHeadDim];
  for (std::size_t c = 0; c < factors_.size(); ++c) scaled[c] = q[c] * factors_[c];
  rotation_->apply_query_row(scaled, out);
}

}  // namespace veloxquant
