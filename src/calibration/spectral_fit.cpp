#include "calibration/spectral_fit.hpp"

#include <algorithm>

#include "linalg/symmetric.hpp"

namespace veloxquant {
namespace {

constexpr double kLeastVariance = 1e-6;  // of a channel, beside the mean of all
constexpr double kLeastMetric = 1e-16;   // mean over the coordinates, by variance

// z = U^T P r with U from P S P.
SpectralFit fit_in(std::span<const double> covariance, std::span<const double> metric, int dim) {
  const SymmetricRoot p = symmetric_root(metric, dim, 1e-12);
  const SymmetricEigen eigen = symmetric_eigen(multiply(multiply(p.root, covariance, dim), p.root, dim), dim);
  const std::vector<double> forward = multiply(eigen.vectors, p.root, dim);
  const std::vector<double> inverse = multiply(eigen.vectors, p.inverse_root, dim);
  SpectralFit fit{{forward.begin(), forward.end()}, {inverse.begin(), inverse.end()}, {}};
  for (const double value : eigen.values) fit.lambda.push_back(static_cast<float>(std::max(value, 0.0)));
  return fit;
}

}  // namespace

SpectralFit fit_spectral(std::span<const double> covariance, std::span<const double> metric, int dim,
                         double ridge) {
  const auto width = static_cast<std::size_t>(dim);
  std::vector<double> weighed(metric.begin(), metric.end());
  double energy = 0, variance = 0;  // tr(M S), the sum of lambda; tr(S)
  for (std::size_t i = 0; i < weighed.size(); ++i) energy += weighed[i] * covariance[i];
  for (std::size_t c = 0; c < width; ++c) variance += covariance[c * width + c];
  // Errors of a head that nobody reads (a pruned one, say) cost nothing: no coordinate of it wants a bit, and in
  // which basis does not matter.
  if (!(energy > kLeastMetric * variance)) {
    std::ranges::fill(weighed, 0.0);
    for (std::size_t c = 0; c < width; ++c) weighed[c * width + c] = 1;
    SpectralFit fit = fit_in(covariance, weighed, dim);
    std::ranges::fill(fit.lambda, 0.0f);
    return fit;
  }
  for (std::size_t c = 0; c < width; ++c) {
    const double own = std::max({covariance[c * width + c], kLeastVariance * variance / dim, 1e-30});
    weighed[c * width + c] += std::max(ridge * energy / dim / own, 1e-30);
  }
  return fit_in(covariance, weighed, dim);
}

}  // namespace veloxquant
