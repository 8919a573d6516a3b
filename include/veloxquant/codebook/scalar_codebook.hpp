// ScalarCodebook: a symmetric set of 2^bits reconstruction values for coordinates of variance one.
//
// The values are solved in double precision when a codebook is first asked for, rounded to multiples of 2^-20
// and shared by everyone who asks for the same one. Thresholds are the midpoints of neighbouring values,
// exact in float; a value on a threshold goes to the centroid nearer to zero, and zero itself to the positive
// one. Both steps take the last digits of the mathematical library out of the codes: they are the same on
// every machine.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include <veloxquant/core/abstractions.hpp>

namespace veloxquant {

struct ScalarTable;

class ScalarCodebook : public Codebook {
 public:
  int bits() const noexcept;
  std::span<const float> centroids() const noexcept;   // 2^bits, ascending
  std::span<const float> thresholds() const noexcept;  // 2^bits - 1, ascending
  // E|x - y|^2 / E|x|^2 for the distribution that the codebook was made for.
  double distortion() const noexcept;
  // The index of the centroid nearest to x.
  std::uint8_t index(float x) const noexcept;

  // x (f32, f16 or bf16, any shape) -> u8 indices. Throws DTypeError, and NumericError for NaN and infinity.
  Tensor quantize(const Tensor& x) const override;
  // u8 indices -> f32.
  Tensor dequantize(const Tensor& indices) const override;

 protected:
  explicit ScalarCodebook(std::shared_ptr<const ScalarTable> table) : table_(std::move(table)) {}

 private:
  std::shared_ptr<const ScalarTable> table_;
};

}  // namespace veloxquant
