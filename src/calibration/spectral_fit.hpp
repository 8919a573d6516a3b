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

// Directions that no query has looked at are not free: an error of a channel as large as its deviation costs
// at least `ridge` times what one of the average coordinate does, whatever the scale of the channel.
SpectralFit fit_spectral(std::span<const double> covariance, std::span<const double> metric, int dim,
                         double ridge = 1e-3);

}  // namespace veloxquant
