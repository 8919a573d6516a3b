// The per-vector scale around a code of unit-variance coordinates.
//
// A vector x of d coordinates is coded as z = x / r, r = |x| / sqrt(d), by a point y near z, and decoded as S
// y. The code bits do not depend on S; its three choices (ScaleMode) follow EDEN (arXiv:2105.08339):
//
//     one        S = r                      trusts the code to keep norms on average
//     matched    S = r sqrt(d) / |y|        |S y| = |x|
//     unbiased   S = r d / <y, z>           <S y, x> = |x|^2, so that inner products have no bias
//
// A vector whose r is below 2^-40, far under the smallest f16 scale of 2^-24, counts as zero: S = 0 and it
// decodes to zeros. Scales under 2^-14 are f16 subnormals and lose digits gradually. Should <y, z> not be
// positive, which no nearest point of a rotated vector shows, `unbiased` falls back to `matched`.
#pragma once

#include <cmath>

#include <veloxquant/core/registry.hpp>

#include "codebook/row_math.hpp"

namespace veloxquant {

// z = x / r; returns r, or 0 (and z = 0) for a zero vector.
inline double to_unit_variance(const float* x, int d, float* z) {
  const double r = std::sqrt(dot(x, x, d) / d);
  const bool zero = r < 0x1p-40;
  const float inverse = zero ? 0.0f : static_cast<float>(1 / r);
  for (int c = 0; c < d; ++c) z[c] = x[c] * inverse;
  return zero ? 0 : r;
}

inline void store_vector_scale(ScaleMode mode, double r, const float* z, const float* y, int d,
                               std::uint8_t* scales) {
  double factor = 1;
  if (mode == ScaleMode::unbiased) {
    const double along = dot(y, z, d);
    factor = d / along;
    if (!(along > 0)) mode = ScaleMode::matched;
  }
  if (mode == ScaleMode::matched) factor = std::sqrt(d / dot(y, y, d));
  store_f16(r == 0 ? 0 : r * factor, "scale", scales, 0);
}

}  // namespace veloxquant
