#include <veloxquant/transform/row_transform.hpp>

#include "core/input.hpp"

namespace veloxquant {
namespace {

// Maps every row of x by `map(in, out)` into new f32 vectors.
template <class Map>
Tensor map_rows(const Tensor& x, int head_dim, const char* operation, Map map) {
  const Tensor from = checked_vectors(x, head_dim, operation);
  const Tensor to = Tensor::empty(from.shape(), DType::f32);
  const float* in = from.data<const float>();
  float* out = to.data<float>();
  for (const float* end = in + from.numel(); in != end; in += head_dim, out += head_dim) map(in, out);
  return to;
}

}  // namespace

void RowTransform::apply_rows(const float* x, std::size_t count, float* y) const {
  for (std::size_t i = 0; i < count; ++i, x += head_dim(), y += head_dim()) apply_row(x, y);
}

TransformResult RowTransform::apply(const Tensor& x) const {
  const auto map = [this](const float* in, float* out) { apply_row(in, out); };
  return {map_rows(x, head_dim(), "transform", map), {}, x.dtype()};
}

Tensor RowTransform::inverse(const TransformResult& result) const {
  const auto map = [this](const float* in, float* out) { inverse_row(in, out); };
  return map_rows(result.output, head_dim(), "inverse transform", map).to(result.dtype);
}

Tensor RowTransform::apply_query(const Tensor& q) const {
  const auto map = [this](const float* in, float* out) { apply_query_row(in, out); };
  return map_rows(q, head_dim(), "transform of queries", map);
}

}  // namespace veloxquant
