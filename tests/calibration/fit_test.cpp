#include "calibration/spectral_fit.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <veloxquant/calibration/moments.hpp>

#include "calibration/samples.hpp"
#include "linalg/symmetric.hpp"

namespace veloxquant {
namespace {

constexpr int kDim = 16;
constexpr std::size_t kSize = kDim;

std::vector<double> covariance_of(const std::vector<float>& rows) {
  Moments moments(kDim);
  moments.add(rows.data(), rows.size() / kSize);
  return moments.covariance();
}

// a b^T of float matrices.
std::vector<double> outer(const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<double> result(kSize * kSize);
  for (std::size_t i = 0; i < kSize; ++i) {
    for (std::size_t j = 0; j < kSize; ++j) {
      for (std::size_t k = 0; k < kSize; ++k) {
        result[i * kSize + j] +=
            static_cast<double>(a[i * kSize + k]) * static_cast<double>(b[j * kSize + k]);
      }
    }
  }
  return result;
}

TEST(SpectralFit, WhitensInTheMetricAndComesBack) {
  const auto covariance = covariance_of(testing::correlated_rows(4000, kDim, 1));
  const auto metric = covariance_of(testing::correlated_rows(4000, kDim, 2));
  const SpectralFit fit = fit_spectral(covariance, metric, kDim, 0);
  EXPECT_TRUE(std::is_sorted(fit.lambda.rbegin(), fit.lambda.rend()));

  // z = F r: rows of the inverse are a dual basis of rows of F.
  const auto identity = outer(fit.forward, fit.inverse);
  for (std::size_t i = 0; i < identity.size(); ++i)
    EXPECT_NEAR(identity[i], i % (kSize + 1) == 0 ? 1 : 0, 2e-3) << i;

  // The covariance of z is diag(lambda).
  const std::vector<double> forward(fit.forward.begin(), fit.forward.end());
  const auto product = multiply(forward, covariance, kDim);
  const std::vector<float> rows(product.begin(), product.end());
  const auto of_z = outer(rows, fit.forward);
  for (std::size_t i = 0; i < of_z.size(); ++i) {
    const double wanted = i % (kSize + 1) == 0 ? static_cast<double>(fit.lambda[i / (kSize + 1)]) : 0;
    EXPECT_NEAR(of_z[i], wanted, 2e-3 * static_cast<double>(fit.lambda[0])) << i;
  }

  // The metric sees an error of one coordinate as its square: inverse M inverse^T = I.
  const std::vector<double> inverse(fit.inverse.begin(), fit.inverse.end());
  const auto weighed = multiply(inverse, metric, kDim);
  const auto of_errors = outer({weighed.begin(), weighed.end()}, fit.inverse);
  for (std::size_t i = 0; i < of_errors.size(); ++i) {
    EXPECT_NEAR(of_errors[i], i % (kSize + 1) == 0 ? 1 : 0, 2e-3) << i;
  }
}

// A model may make some channels of its keys larger and those of its queries smaller: nothing changes but the
// scale of the basis.
TEST(SpectralFit, ScalesOfChannelsAreNothing) {
  auto covariance = covariance_of(testing::correlated_rows(4000, kDim, 1));
  auto metric = covariance_of(testing::correlated_rows(4000, kDim, 2));
  for (std::size_t i = 0; i < kSize; ++i)
    metric[i] = metric[i * kSize] = 0;  // a channel that no query looks at
  const SpectralFit plain = fit_spectral(covariance, metric, kDim);
  const auto scale = [](std::size_t c) { return c % 3 == 0 ? 32.0 : c % 3 == 1 ? 1.0 : 0.25; };
  for (std::size_t i = 0; i < kSize; ++i) {
    for (std::size_t j = 0; j < kSize; ++j) {
      covariance[i * kSize + j] *= scale(i) * scale(j);
      metric[i * kSize + j] /= scale(i) * scale(j);
    }
  }
  const SpectralFit scaled = fit_spectral(covariance, metric, kDim);
  for (std::size_t c = 0; c < kSize; ++c)
    EXPECT_NEAR(scaled.lambda[c], plain.lambda[c], 1e-4f * plain.lambda[0]) << c;
}

// Nobody reads the head, or as good as nobody.
TEST(SpectralFit, AHeadThatIsNotReadWantsNoBits) {
  const auto covariance = covariance_of(testing::correlated_rows(4000, kDim, 1));
  for (const double size : {0.0, 1e-30}) {
    std::vector<double> metric(kSize * kSize);
    metric[0] = size;
    const SpectralFit fit = fit_spectral(covariance, metric, kDim);
    for (const float lambda : fit.lambda) EXPECT_EQ(lambda, 0);
    for (const float value : fit.inverse) EXPECT_LE(std::abs(value), 1.001f);
    const auto whole = outer(fit.forward, fit.forward);
    for (std::size_t i = 0; i < kSize; ++i) EXPECT_NEAR(whole[i * (kSize + 1)], 1, 1e-5);
  }
}

TEST(SymmetricEigen, IsDescendingAndSignsAreFixed) {
  const auto a = covariance_of(testing::correlated_rows(500, kDim, 3));
  const SymmetricEigen eigen = symmetric_eigen(a, kDim);
  EXPECT_TRUE(std::is_sorted(eigen.values.rbegin(), eigen.values.rend()));
  for (std::size_t c = 0; c < kSize; ++c) {
    const auto row = eigen.vectors.begin() + static_cast<std::ptrdiff_t>(c * kSize);
    const auto [low, high] = std::minmax_element(row, row + kDim);
    EXPECT_GE(*high, -*low);
  }
}

}  // namespace
}  // namespace veloxquant
