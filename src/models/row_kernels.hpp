// The decoder's element-wise work on rows of f32, beside the matrix products.
#pragma once

#include <cstddef>

#include <veloxquant/core/half.hpp>

namespace veloxquant {

// out[i] = x[i] / sqrt(mean of squares + eps) * weight[i] (arXiv:1910.07467). out may be x.
void rms_norm(const float* x, const float* weight, std::size_t count, float eps, float* out);
// gate[i] = silu(gate[i]) * up[i], silu(v) = v / (1 + exp(-v)).
void silu_times(float* gate, const float* up, std::size_t count);
// x[i] += y[i].
void add_to(float* x, const float* y, std::size_t count);
// Turns the pairs (i, i + pairs) of one head by the angles whose cosines and sines are given (half-split).
void rotate_half_split(float* head, const float* cosines, const float* sines, std::size_t pairs);
// To nearest, ties to even, as to_bf16.
void round_to_bf16(const float* x, std::size_t count, bf16* out);
// The inverse, exact.
void widen_bf16(const bf16* x, std::size_t count, float* out);

}  // namespace veloxquant
