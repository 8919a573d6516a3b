// LloydMaxCodebook: the 2^bits values of least mean squared error for one known distribution (Lloyd 1957,
// Max 1960).
//
// Each value is the mean of its cell and each threshold the midpoint of its neighbours. Two distributions are
// served, both of variance one:
//   - the standard normal;
//   - one coordinate of a vector drawn uniformly from the sphere of radius sqrt(d) in d dimensions, whose
//     density is proportional to (1 - x^2 / d)^((d - 3) / 2). This is exactly what a random rotation makes of
//     any vector, and the codebook of TurboQuant (arXiv:2504.19874); it tends to the normal one as d grows.
// Relative squared error at 1, 2, 3, 4 bits:
//     .3634 .1175 .0345 .0095 (normal), .3609 .1160 .0340 .0093 (d = 128).
#pragma once

#include <veloxquant/codebook/scalar_codebook.hpp>

namespace veloxquant {

class LloydMaxCodebook final : public ScalarCodebook {
 public:
  // bits 1..8; head_dim is the sphere's d, from 2 to 4096, or 0 for the normal. Throws ConfigError.
  explicit LloydMaxCodebook(int bits, int head_dim = 0);
};

}  // namespace veloxquant
