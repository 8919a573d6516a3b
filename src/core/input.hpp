// The one place where run-time vectors are checked: rank, head size, element type, NaN and infinity.
#pragma once

#include <veloxquant/core/tensor.hpp>

namespace veloxquant {

// x [batch, heads, seq, head_dim] of f32, f16 or bf16, any strides -> the same vectors as contiguous f32 (a view of
// x when it is that already). Throws ShapeError, DTypeError or NumericError in the name of `operation`; a NaN or
// an infinity is reported with its position [batch, head, token, coordinate].
Tensor checked_vectors(const Tensor& x, int head_dim, const char* operation);

// Decoded vectors, f32 [batch, heads, seq, head_dim], as elements of `dtype`. Throws NumericError with the
// position where that has no finite value for one.
Tensor narrowed_vectors(const Tensor& x, DType dtype, const char* operation);

}  // namespace veloxquant
