#include "search/k_means.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "codebook/samples.hpp"

namespace veloxquant {
namespace {

using testing::normal_values;

// Far apart, so that the right centres are the means of the groups.
TEST(KMeans, FindsGroupsThatStandApart) {
  constexpr int kGroups = 12, kMembers = 30, kDims = 10;
  const auto middles = normal_values(kGroups * kDims, 1),
             noise = normal_values(kGroups * kMembers * kDims, 2);
  std::vector<float> rows(noise.size());
  std::vector<double> means(kGroups * kDims);
  for (std::size_t i = 0; i < kGroups * kMembers; ++i)
    for (std::size_t c = 0; c < kDims; ++c) {
      const std::size_t group = i % kGroups;
      rows[i * kDims + c] = 10 * middles[group * kDims + c] + 0.3f * noise[i * kDims + c];
      means[group * kDims + c] += rows[i * kDims + c] / kMembers;
    }
  const auto centres = k_means(rows.data(), kGroups * kMembers, kDims, kGroups, 5);
  EXPECT_EQ(centres, k_means(rows.data(), kGroups * kMembers, kDims, kGroups, 5));
  const auto nearest = nearest_centres(rows.data(), kGroups * kMembers, kDims, centres);
  for (std::size_t i = 0; i < kGroups * kMembers; ++i) {
    EXPECT_EQ(nearest[i], nearest[i % kGroups]);
    for (std::size_t c = 0; c < kDims; ++c)
      EXPECT_NEAR(centres[nearest[i] * kDims + c], means[i % kGroups * kDims + c], 1e-4);
  }
}

TEST(KMeans, TheNearestCentreIsTheNearest) {
  const auto rows = normal_values(200 * 6, 3), centres = normal_values(17 * 6, 4);
  const auto nearest = nearest_centres(rows.data(), 200, 6, centres);
  for (std::size_t i = 0; i < 200; ++i) {
    std::vector<double> distances;
    for (std::size_t j = 0; j < 17; ++j) {
      double sum = 0;
      for (std::size_t c = 0; c < 6; ++c) sum += std::pow(rows[i * 6 + c] - centres[j * 6 + c], 2);
      distances.push_back(sum);
    }
    EXPECT_NEAR(distances[nearest[i]], *std::min_element(distances.begin(), distances.end()), 1e-5);
  }
}

TEST(KMeans, ServesFewerDifferentRowsThanCentres) {
  std::vector<float> rows(40, 1.0f);
  for (std::size_t c = 0; c < 4; ++c) rows[c] = 2;
  const auto centres = k_means(rows.data(), 10, 4, 5, 1);
  ASSERT_EQ(centres.size(), 20u);
  const auto nearest = nearest_centres(rows.data(), 10, 4, centres);
  EXPECT_NE(nearest[0], nearest[1]);
  for (std::size_t i = 0; i < 10; ++i) EXPECT_EQ(centres[nearest[i] * 4], rows[i * 4]);
}

}  // namespace
}  // namespace veloxquant
