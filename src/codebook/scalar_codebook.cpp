#include <veloxquant/codebook/scalar_codebook.hpp>

#include <cmath>

#include <fmt/format.h>

#include <veloxquant/core/error.hpp>

#include "codebook/scalar_table.hpp"

namespace veloxquant {

int ScalarCodebook::bits() const noexcept { return table_->bits; }
std::span<const float> ScalarCodebook::centroids() const noexcept { return *table_->centroids; }
std::span<const float> ScalarCodebook::thresholds() const noexcept { return table_->thresholds; }
double ScalarCodebook::distortion() const noexcept { return table_->distortion; }
std::uint8_t ScalarCodebook::index(float x) const noexcept { return table_->index(x); }

Tensor ScalarCodebook::quantize(const Tensor& x) const {
  if (x.dtype() != DType::f32 && x.dtype() != DType::f16 && x.dtype() != DType::bf16)
    throw DTypeError("quantize", fmt::format("x is {}, but must be f32, f16 or bf16", to_string(x.dtype())));
  const Tensor values = x.to(DType::f32).contiguous();
  const Tensor indices = Tensor::empty(values.shape(), DType::u8);
  const std::span<const float> from = values.span<const float>();
  const std::span<std::uint8_t> to = indices.span<std::uint8_t>();
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (!std::isfinite(from[i]))
      throw NumericError(
          "quantize",
          fmt::format("element {} of x (in row-major order) is {}, but must be finite", i, from[i]));
    to[i] = table_->index(from[i]);
  }
  return indices;
}

Tensor ScalarCodebook::dequantize(const Tensor& indices) const {
  if (indices.dtype() != DType::u8)
    throw DTypeError("dequantize", fmt::format("indices are {}, but must be u8", to_string(indices.dtype())));
  const Tensor dense = indices.contiguous();
  const Tensor values = Tensor::empty(dense.shape(), DType::f32);
  const std::span<const std::uint8_t> from = dense.span<const std::uint8_t>();
  const std::span<float> to = values.span<float>();
  const std::vector<float>& centroids = *table_->centroids;
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (from[i] >= centroids.size())
      throw NumericError("dequantize",
                         fmt::format("index {} (in row-major order) is {}, but the codebook has {} values", i,
                                     from[i], centroids.size()));
    to[i] = centroids[from[i]];
  }
  return values;
}

}  // namespace veloxquant
