#include <gtest/gtest.h>

#include <cmath>
#include <veloxquant/calibration/moments.hpp>
#include <veloxquant/core/error.hpp>

#include "calibration/samples.hpp"

namespace veloxquant {
namespace {

constexpr int kDim = 10;

// Mean and covariance from the definition, in double.
struct Exact {
  std::vector<double> mean, covariance;
};
Exact exact_moments(const std::vector<float>& rows) {
  const std::size_t count = rows.size() / kDim;
  Exact exact{std::vector<double>(kDim), std::vector<double>(kDim * kDim)};
  for (std::size_t i = 0; i < rows.size(); ++i)
    exact.mean[i % kDim] += static_cast<double>(rows[i]) / static_cast<double>(count);
  for (std::size_t v = 0; v < count; ++v) {
    for (std::size_t i = 0; i < kDim; ++i) {
      for (std::size_t j = 0; j < kDim; ++j) {
        exact.covariance[i * kDim + j] += (static_cast<double>(rows[v * kDim + i]) - exact.mean[i]) *
                                          (static_cast<double>(rows[v * kDim + j]) - exact.mean[j]) /
                                          static_cast<double>(count);
      }
    }
  }
  return exact;
}

void expect_close(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  double largest = 0;
  for (const double x : b) largest = std::max(largest, std::fabs(x));
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], tolerance * largest) << i;
}

TEST(Moments, EqualTheDefinitionEvenBesideALargeOffset) {
  const std::vector<float> rows = testing::correlated_rows(3000, kDim, 1, 300.0f);
  Moments moments(kDim);
  moments.add(rows.data(), 3000);
  const Exact exact = exact_moments(rows);
  EXPECT_EQ(moments.count(), 3000);
  expect_close(moments.mean(), exact.mean, 1e-9);
  expect_close(moments.covariance(), exact.covariance, 2e-6);
}

TEST(Moments, OfPartsMergeToThoseOfTheWhole) {
  const std::vector<float> rows = testing::correlated_rows(2500, kDim, 2, -5.0f);
  Moments whole(kDim), first(kDim), second(kDim), empty(kDim);
  whole.add(rows.data(), 2500);
  first.add(rows.data(), 700);
  second.add(rows.data() + 700 * kDim, 1800);
  empty.merge(first);
  empty.merge(second);
  empty.merge(Moments(kDim));
  EXPECT_EQ(empty.count(), 2500);
  expect_close(empty.mean(), whole.mean(), 1e-10);
  expect_close(empty.covariance(), whole.covariance(), 1e-6);
}

TEST(Moments, RefuseOtherLengthsAndNothing) {
  Moments moments(kDim);
  EXPECT_THROW(moments.merge(Moments(kDim + 1)), ShapeError);
  EXPECT_THROW(moments.covariance(), NumericError);
}

}  // namespace
}  // namespace veloxquant
