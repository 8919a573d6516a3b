// TrellisCodebook: 256 values, of which neighbours may only follow each other along a path.
//
// The index of an element is an 8-bit window on its vector's stream of bits; the window moves by `bits` (1 to
// 4) from one element to the next, so that each element adds only `bits` new ones, and the stream is cyclic
// (QTIP, arXiv:2406.11235). Unlike other codebooks it codes a vector, the last axis of a tensor, as a whole.
// The row code stores the stream; here the windows come out as they are, one a byte, for study and tests.
#pragma once

#include <span>

#include <veloxquant/core/abstractions.hpp>

namespace veloxquant {

class TrellisCodebook final : public Codebook {
 public:
  // bits 1..4. Throws ConfigError.
  explicit TrellisCodebook(int bits);

  int bits() const noexcept { return bits_; }
  std::span<const float> values() const noexcept;  // 256, by window; values[255 - w] = -values[w]
  // E|x - y|^2 / E|x|^2 measured on vectors uniform on the sphere in 128 dimensions.
  double distortion() const noexcept;

  // x [..., n] (f32, f16 or bf16) with elements of variance about one, n even and at least 8 -> u8 windows
  // of the path nearest to each vector. Throws ShapeError, DTypeError, and NumericError for NaN and infinity.
  Tensor quantize(const Tensor& x) const override;
  // u8 windows -> f32 values.
  Tensor dequantize(const Tensor& indices) const override;

 private:
  int bits_;
  std::shared_ptr<const std::vector<float>> values_;
};

}  // namespace veloxquant
