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
//
// Sums have the order of row_math.hpp on every CPU level.
#pragma once

#include <cstddef>
#include <cstdint>

#include <veloxquant/core/registry.hpp>

namespace veloxquant {

// Rows of d coordinates that are worked on together, so that all that is held of them stays in the nearest
// cache; buffers of kMaxHeadDim numbers hold them, and one row of any size.
constexpr std::size_t rows_at_once(int d) { return d >= 1024 ? 1 : static_cast<std::size_t>(2048 / d); }

// For each of `count` vectors of d coordinates: z = x / r and r, or r = 0 and z = 0 for a zero vector.
void to_unit_variance(const float* x, std::size_t count, int d, float* z, double* r);

// Stores the f16 scale of each vector. Throws NumericError when f16 cannot hold it.
void store_vector_scales(ScaleMode mode, const double* r, const float* z, const float* y, std::size_t count,
                         int d, std::uint8_t* scales);

}  // namespace veloxquant
