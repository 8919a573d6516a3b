#include <veloxquant/codebook/trellis_codebook.hpp>

#include <limits>

#include <fmt/format.h>

#include <veloxquant/core/error.hpp>

#include "codebook/codebook_tensors.hpp"
#include "codebook/trellis.hpp"
#include "pack/bits.hpp"

namespace veloxquant {

TrellisCodebook::TrellisCodebook(int bits) : bits_(bits), values_(shared_values(trellis_table(bits))) {}

std::span<const float> TrellisCodebook::values() const noexcept { return *values_; }

double TrellisCodebook::distortion() const noexcept { return trellis_table(bits_).distortion; }

Tensor TrellisCodebook::quantize(const Tensor& x) const {
  const Tensor dense = checked_values(x);
  if (dense.rank() == 0 || dense.dim(-1) > std::numeric_limits<int>::max())
    throw ShapeError("quantize",
                     fmt::format("x has shape {}, but must be [..., n]", to_string(dense.shape())));
  const Tensor windows = Tensor::empty(dense.shape(), DType::u8);
  if (dense.numel() == 0) return windows;

  const int n = static_cast<int>(dense.dim(-1));
  const std::size_t bits = static_cast<std::size_t>(bits_), total = bits * static_cast<std::size_t>(n);
  std::vector<std::uint8_t> codes(trellis_code_bytes(n, bits_));
  const float* z = dense.data<float>();
  std::uint8_t* out = windows.data<std::uint8_t>();
  for (const float* end = z + dense.numel(); z != end; z += n, out += n) {
    trellis_encode(trellis_table(bits_), z, n, codes.data());
    for (int c = 0; c < n; ++c)
      out[c] = static_cast<std::uint8_t>(
          read_cyclic_bits(codes.data(), bits * static_cast<std::size_t>(c), 8, total));
  }
  return windows;
}

Tensor TrellisCodebook::dequantize(const Tensor& indices) const { return look_up(indices, *values_); }

}  // namespace veloxquant
