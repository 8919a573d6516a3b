#include <veloxquant/transform/centring.hpp>

#include <cmath>
#include <utility>

#include <fmt/format.h>

#include <veloxquant/core/error.hpp>

#include "core/input.hpp"

namespace veloxquant {

Centring::Centring(Tensor means) : means_(std::move(means)) {
  if (means_.rank() != 2)
    throw ShapeError("centring", fmt::format("means have shape {}, but must be [kv_heads, head_dim]",
                                             to_string(means_.shape())));
  if (means_.dtype() != DType::f32)
    throw DTypeError("centring", fmt::format("means are {}, but must be f32", to_string(means_.dtype())));
  means_ = means_.contiguous();
  const std::span<const float> values = means_.span<const float>();
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      throw NumericError("centring",
                         fmt::format("the mean of head {}, coordinate {} is {}, but must be finite",
                                     static_cast<std::int64_t>(i) / means_.dim(1),
                                     static_cast<std::int64_t>(i) % means_.dim(1), values[i]));
}

Tensor Centring::shifted(const Tensor& x, float sign, const char* operation) const {
  const std::int64_t heads = means_.dim(0), d = means_.dim(1);
  const Tensor from = checked_vectors(x, static_cast<int>(d), operation);
  if (from.dim(1) != heads)
    throw ShapeError(operation, fmt::format("x has shape {}, but the means are for {} heads",
                                            to_string(from.shape()), heads));
  const Tensor to = Tensor::empty(from.shape(), DType::f32);
  const std::int64_t rows = from.dim(0) * heads * from.dim(2);
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* in = from.data<const float>() + row * d;
    const float* mean = means_.data<const float>() + row / from.dim(2) % heads * d;
    float* out = to.data<float>() + row * d;
    for (std::int64_t c = 0; c < d; ++c) out[c] = in[c] + sign * mean[c];
  }
  return to;
}

TransformResult Centring::apply(const Tensor& x) const { return {shifted(x, -1, "centring"), {}, x.dtype()}; }

Tensor Centring::inverse(const TransformResult& result) const {
  return shifted(result.output, 1, "inverse of centring").to(result.dtype);
}

Tensor Centring::apply_query(const Tensor& q) const {
  return checked_vectors(q, static_cast<int>(means_.dim(1)), "centring of queries");
}

}  // namespace veloxquant
