#include "calibration/spectral_fit.hpp"

#include <algorithm>

#include "linalg/symmetric.hpp"

namespace veloxquant {
namespace {

constexpr double kLeastVariance = 1e-6;  // of a channel, beside the mean of all

}  // namespace

SpectralFit fit_spectral(std::span<const double> covariance, std::span<const double> metric, int dim,
                         double ridge) {
  const auto width = static_cast<std::size_t>(dim);
  std::vector<double> weighed(metric.begin(), metric.end());
  double energy = 0, variance = 0;  // tr(M S), the sum of lambda; tr(S)
  for (std::size_t i = 0; i < weighed.size(); ++i) energy += weighed[i] * covariance[i];
  for (std::size_t c = 0; c < width; ++c) variance += covariance[c * width + c];
  for (std::size_t c = 0; c < width; ++c) {
    const double own = std::max({covariance[c * width + c], kLeastVariance * variance / dim, 1e-30});
    weighed[c * width + c] += std::max(ridge * energy / dim / own, 1e-30);
  }
  const SymmetricRoot p = symmetric_root(weighed, dim, 1e-12);
  const SymmetricEigen eigen = symmetric_eigen(multiply(multiply(p.root, covariance, dim), p.root, dim), dim);
  const std::vector<double> forward = multiply(eigen.vectors, p.root, dim);
  const std::vector<double> inverse = multiply(eigen.vectors, p.inverse_root, dim);
  SpectralFit fit{{forward.begin(), forward.end()}, {inverse.begin(), inverse.end()}, {}};
  for (const double value : eigen.values) fit.lambda.push_back(static_cast<float>(std::max(value, 0.0)));
  return fit;
}

}  // namespace veloxquant
