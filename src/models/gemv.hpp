// Matrix times a few vectors, for decoding: bound by the speed at which the weights come from memory, so
// every weight is read once for up to kGemvRows tokens and nothing is repacked.
#pragma once

#include <cstddef>

#include <veloxquant/core/half.hpp>

namespace veloxquant {

// Tokens served in one pass over the weights.
inline constexpr std::size_t kGemvRows = 4;

// y[r * y_stride + o] = sum over i of weights[o * inputs + i] * x[r * inputs + i], for o in [begin, end) and
// r in [0, rows), rows <= kGemvRows. Sums are kept in f32.
void gemv(const bf16* weights, const float* x, std::size_t inputs, std::size_t rows, std::size_t begin,
          std::size_t end, float* y, std::size_t y_stride);
void gemv(const float* weights, const float* x, std::size_t inputs, std::size_t rows, std::size_t begin,
          std::size_t end, float* y, std::size_t y_stride);

}  // namespace veloxquant
