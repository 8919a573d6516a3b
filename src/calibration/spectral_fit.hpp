// The transform of one group: Karhunen-Loeve in the metric that its errors are weighed by.
//
//     P = M^(1/2),   P S P = U diag(lambda) U^T,   z = U^T P r,   r = P^-1 U z .
//
// Errors of z are then worth their square, whatever their direction, and the coordinates of z are
// uncorrelated with the variances lambda: what an allocation over coordinates needs.
#pragma once

#include <span>
#include <vector>

namespace veloxquant {

struct SpectralFit {
  std::vector<float> forward;  // [dim, dim]: row c gives z_c
  std::vector<float> inverse;  // [dim, dim]: row c is what z_c contributes to r
  std::vector<float> lambda;   // [dim], descending
};

// `ridge` times the mean diagonal of the metric is added to it: directions that no query has looked at are
// not free.
SpectralFit fit_spectral(std::span<const double> covariance, std::span<const double> metric, int dim,
                         double ridge = 1e-3);

}  // namespace veloxquant
