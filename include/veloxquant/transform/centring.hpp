// Centring: subtracts a mean per KV head.
//
// Keys of many models share a large constant part. It costs a code most of its precision and means little to
// attention: <q, k> = <q, k - mean> + <q, mean>, where the last term is the same for every key of a head and
// leaves the softmax weights alone as long as all keys that it sees are centred. Queries therefore stay as
// they are; inner products change by that constant.
#pragma once

#include <veloxquant/core/abstractions.hpp>

namespace veloxquant {

class Centring final : public Preconditioner {
 public:
  // means f32 [kv_heads, head_dim], finite; kept as a view. Throws ShapeError, DTypeError, NumericError.
  explicit Centring(Tensor means);

  const Tensor& means() const noexcept { return means_; }
  // x [batch, kv_heads, seq, head_dim] -> x - mean of its head, f32.
  TransformResult apply(const Tensor& x) const override;
  Tensor inverse(const TransformResult& result) const override;
  using Preconditioner::inverse;
  // q [batch, query_heads, seq, head_dim] -> the same values, f32.
  Tensor apply_query(const Tensor& q) const override;

 private:
  Tensor shifted(const Tensor& x, float sign, const char* operation) const;
  Tensor means_;
};

}  // namespace veloxquant
