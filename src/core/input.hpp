// The one place where run-time vectors are checked: rank, head size, element type, NaN and infinity.
#pragma once

#include <veloxquant/core/tensor.hpp>

namespace veloxquant {

// x [batch, heads, seq, head_dim] of f32, f16 or bf16, any strides -> the same vectors as contiguous f32 (a view of
// x when it is that already). Throws ShapeError, DTypeError or NumericError in the name of `operation`; a NaN or
// an infinity is reported with its position [batch, head, token, coordinate].
Tensor checked_vectors(const Tensor& x, int head_dim, const char* operation);

// The same vectors for an operation that ends before x does: those of a head stand one after the other, and where x has
// them so, as f32, they are read in x.
class CheckedVectors {
 public:
  CheckedVectors() = default;
  CheckedVectors(const Tensor& x, int head_dim, const char* operation);
  const float* at(std::int64_t row, std::int64_t head, std::int64_t token) const noexcept {
    return data_ + row * row_stride_ + head * head_stride_ + token * dim_;
  }
  // Floats from a head's vectors to those of the next head.
  std::int64_t head_stride() const noexcept { return head_stride_; }

 private:
  const float* data_ = nullptr;
  std::int64_t row_stride_ = 0, head_stride_ = 0, dim_ = 0;
  Tensor copied_;
};

// Decoded vectors, f32 [batch, heads, seq, head_dim], as elements of `dtype`. Throws NumericError with the
// position where that has no finite value for one.
Tensor narrowed_vectors(const Tensor& x, DType dtype, const char* operation);

}  // namespace veloxquant
