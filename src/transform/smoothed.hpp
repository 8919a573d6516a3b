// SmoothedTransform: channels are divided by factors of their own, then rotated:  T k = R (k / lambda).
//
// Not orthogonal: queries are multiplied by the factors, q' = R (lambda q), so that <q', T k> = <q, k>.
#pragma once

#include <memory>
#include <vector>
#include <veloxquant/transform/row_transform.hpp>

namespace veloxquant {

class SmoothedTransform final : public RowTransform {
 public:
  // `factors` positive, one for each coordinate of `rotation`, which is orthogonal.
  SmoothedTransform(std::vector<float> factors, std::shared_ptr<const RowTransform> rotation);

  int head_dim() const noexcept override { return rotation_->head_dim(); }
  void apply_row(const float* x, float* y) const override { apply_rows(x, 1, y); }
  void apply_rows(const float* x, std::size_t count, float* y) const override;
  void inverse_row(const float* y, float* x) const override;
  void apply_query_row(const float* q, float* out) const override;
  // Of the factors; the rotation is shared.
  std::size_t nbytes() const noexcept override {
    return sizeof(float) * (factors_.size() + inverses_.size());
  }

 private:
  std::vector<float> factors_, inverses_;
  std::shared_ptr<const RowTransform> rotation_;
};

}  // namespace veloxquant
