// RowTransform: a preconditioner that maps each vector of head_dim coordinates by itself.
//
// apply_row runs on the encode path, where the order of floating-point operations is fixed: its result is the
// same bit for bit on every CPU level.
#pragma once

#include <cstddef>

#include <veloxquant/core/abstractions.hpp>

namespace veloxquant {

class RowTransform : public Preconditioner {
 public:
  virtual int head_dim() const noexcept = 0;
  // y[head_dim] = T x[head_dim]; x and y must not overlap.
  virtual void apply_row(const float* x, float* y) const = 0;
  // The same for `count` rows, one after the other.
  virtual void apply_rows(const float* x, std::size_t count, float* y) const;
  // x = T^-1 y.
  virtual void inverse_row(const float* y, float* x) const = 0;
  // q' with <q', T k> = <q, k>.
  virtual void apply_query_row(const float* q, float* out) const { apply_row(q, out); }
  // Bytes of the tables that the transform holds.
  virtual std::size_t nbytes() const noexcept = 0;

  // The 4-D forms of Preconditioner, row by row.
  TransformResult apply(const Tensor& x) const override;
  Tensor inverse(const TransformResult& result) const override;
  Tensor apply_query(const Tensor& q) const override;
  using Preconditioner::inverse;
};

}  // namespace veloxquant
