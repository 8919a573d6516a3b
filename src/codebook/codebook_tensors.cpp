#include "codebook/codebook_tensors.hpp"

#include <array>
#include <cmath>
#include <mutex>

#include <fmt/format.h>

#include <veloxquant/core/error.hpp>

namespace veloxquant {

Tensor checked_values(const Tensor& x) {
  if (!x.defined()) throw ShapeError("quantize", "x is an undefined tensor");
  if (x.dtype() != DType::f32 && x.dtype() != DType::f16 && x.dtype() != DType::bf16)
    throw DTypeError("quantize", fmt::format("x is {}, but must be f32, f16 or bf16", to_string(x.dtype())));
  const Tensor dense = x.contiguous().to(DType::f32);
  const std::span<const float> values = dense.span<const float>();
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      throw NumericError(
          "quantize",
          fmt::format("element {} of x (in row-major order) is {}, but must be finite", i, values[i]));
  return dense;
}

Tensor look_up(const Tensor& indices, std::span<const float> table) {
  if (!indices.defined()) throw ShapeError("dequantize", "indices are an undefined tensor");
  if (indices.dtype() != DType::u8)
    throw DTypeError("dequantize", fmt::format("indices are {}, but must be u8", to_string(indices.dtype())));
  const Tensor dense = indices.contiguous();
  const Tensor values = Tensor::empty(dense.shape(), DType::f32);
  const std::span<const std::uint8_t> from = dense.span<const std::uint8_t>();
  const std::span<float> to = values.span<float>();
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (from[i] >= table.size())
      throw NumericError("dequantize",
                         fmt::format("index {} (in row-major order) is {}, but the codebook has {} values", i,
                                     from[i], table.size()));
    to[i] = table[from[i]];
  }
  return values;
}

std::shared_ptr<const std::vector<float>> shared_values(const TrellisTable& table) {
  static std::mutex mutex;
  static std::array<std::shared_ptr<const std::vector<float>>, 5> made;
  const std::scoped_lock lock(mutex);
  auto& values = made[static_cast<std::size_t>(table.bits)];
  if (!values) {
    std::vector<float> floats;
    for (const std::int16_t value : table.values) floats.push_back(static_cast<float>(value) / 4096.0f);
    values = std::make_shared<const std::vector<float>>(std::move(floats));
  }
  return values;
}

}  // namespace veloxquant
