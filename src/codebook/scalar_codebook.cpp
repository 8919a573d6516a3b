#include <veloxquant/codebook/scalar_codebook.hpp>

#include "codebook/codebook_tensors.hpp"
#include "codebook/scalar_table.hpp"

namespace veloxquant {

int ScalarCodebook::bits() const noexcept { return table_->bits; }
std::span<const float> ScalarCodebook::centroids() const noexcept { return *table_->centroids; }
std::span<const float> ScalarCodebook::thresholds() const noexcept { return table_->thresholds; }
double ScalarCodebook::distortion() const noexcept { return table_->distortion; }
std::uint8_t ScalarCodebook::index(float x) const noexcept { return table_->index(x); }

Tensor ScalarCodebook::quantize(const Tensor& x) const {
  const Tensor values = checked_values(x);
  const Tensor indices = Tensor::empty(values.shape(), DType::u8);
  const float* from = values.data<float>();
  std::uint8_t* to = indices.data<std::uint8_t>();
  for (std::int64_t i = 0; i < values.numel(); ++i) to[i] = table_->index(from[i]);
  return indices;
}

Tensor ScalarCodebook::dequantize(const Tensor& indices) const { return look_up(indices, centroids()); }

}  // namespace veloxquant
