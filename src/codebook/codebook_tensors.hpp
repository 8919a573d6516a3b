// The tensors that go into and come out of codebooks.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include <veloxquant/core/tensor.hpp>

#include "codebook/trellis.hpp"

namespace veloxquant {

// x of any shape and strides as contiguous f32. Throws DTypeError unless it is f32, f16 or bf16, and
// NumericError for a NaN or an infinity.
Tensor checked_values(const Tensor& x);

// u8 indices of any shape -> table[index] in f32. Throws DTypeError, and NumericError for an index beyond the
// table.
Tensor look_up(const Tensor& indices, std::span<const float> table);

// A trellis table's values as floats, made once for each width and shared.
std::shared_ptr<const std::vector<float>> shared_values(const TrellisTable& table);

}  // namespace veloxquant
