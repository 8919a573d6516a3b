#include <veloxquant/transform/rotation.hpp>

// Before Highway's headers, so that HWY_TARGETS below has the level too.
#define HWY_WANT_AVX3_DL

#include <gtest/gtest.h>
#include <hwy/highway.h>
#include <hwy/targets.h>

#include <cmath>

#include <veloxquant/core/error.hpp>
#include <veloxquant/transform/hadamard.hpp>

#include "transform/random.hpp"

namespace veloxquant {
namespace {

std::vector<float> normal_row(int d, std::uint64_t seed) {
  NormalSource normal(seed);
  std::vector<float> row;
  for (int c = 0; c < d; ++c) row.push_back(static_cast<float>(normal.next()));
  return row;
}

TEST(PortableLog, AgreesWithTheLibrary) {
  SplitMix64 random(1);
  for (int i = 0; i < 10000; ++i) {
    const double x = std::ldexp(1 + std::fabs(random.symmetric()), static_cast<int>(random.below(200)) - 150);
    EXPECT_NEAR(portable_log(x), std::log(x), 1e-15 * std::max(1.0, std::fabs(std::log(x))));
  }
}

TEST(NormalSource, HasTheMomentsOfTheNormalDistribution) {
  NormalSource normal(3);
  constexpr int kCount = 400000;
  double moments[5] = {};
  for (int i = 0; i < kCount; ++i) {
    const double x = normal.next();
    for (int k = 1; k <= 4; ++k) moments[k] += std::pow(x, k) / kCount;
  }
  EXPECT_NEAR(moments[1], 0, 0.006);
  EXPECT_NEAR(moments[2], 1, 0.009);
  EXPECT_NEAR(moments[3], 0, 0.025);
  EXPECT_NEAR(moments[4], 3, 0.06);
}

TEST(HaarRotation, IsOrthogonal) {
  for (const int d : {2, 6, 64, 80, 96, 112, 128, 192, 256}) {
    const HaarRotation rotation(d, 5);
    for (int a = 0; a < d; ++a)
      for (int b = a; b < d; ++b) {
        double sum = 0;
        for (int c = 0; c < d; ++c) sum += double{rotation.at(a, c)} * rotation.at(b, c);
        ASSERT_NEAR(sum, a == b ? 1 : 0, 1e-6) << d;
      }
  }
}

TEST(HaarRotation, AppliesItsMatrixInOrderOfTheInput) {
  for (const int d : {2, 30, 80, 112, 128, 256}) {
    const HaarRotation rotation(d, 6);
    const auto x = normal_row(d, 1);
    std::vector<float> y(x.size()), back(x.size());
    rotation.apply_row(x.data(), y.data());
    rotation.inverse_row(y.data(), back.data());
    for (int j = 0; j < d; ++j) {
      volatile float sum = 0, sum_back = 0;  // each product and sum rounded to float
      for (int i = 0; i < d; ++i) {
        volatile float product = rotation.at(j, i) * x[i];
        sum = sum + product;
        product = rotation.at(i, j) * y[i];
        sum_back = sum_back + product;
      }
      ASSERT_EQ(y[j], sum) << d;
      ASSERT_EQ(back[j], sum_back) << d;
      ASSERT_NEAR(back[j], x[j], 1e-5) << d;
    }
  }
}

void expect_same_on_every_level(const RowTransform& transform) {
  const auto x = normal_row(transform.head_dim(), 2);
  std::vector<float> first(x.size()), first_back(x.size()), y(x.size()), back(x.size());
  transform.apply_row(x.data(), first.data());
  transform.inverse_row(x.data(), first_back.data());
  for (std::int64_t t = hwy::SupportedTargets() & HWY_TARGETS; t != 0; t &= t - 1) {
    hwy::SetSupportedTargetsForTest(t & -t);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    transform.apply_row(x.data(), y.data());
    transform.inverse_row(x.data(), back.data());
    EXPECT_EQ(y, first) << hwy::TargetName(t & -t) << " " << transform.head_dim();
    EXPECT_EQ(back, first_back) << hwy::TargetName(t & -t) << " " << transform.head_dim();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

TEST(CpuLevels, TransformsAreTheSameBitForBit) {
  for (const int d : {2, 12, 64, 66, 80, 96, 100, 112, 120, 128, 192, 256}) {
    expect_same_on_every_level(HaarRotation(d, 7));
    expect_same_on_every_level(HadamardTransform(d, 7));
  }
}

// Haar measure: every entry has mean 0, variance 1/d and fourth moment 3 / (d (d + 2)), the diagonal too
// (which a QR without the sign rule gets wrong).
TEST(HaarRotation, EntriesHaveHaarMoments) {
  constexpr int kDim = 6, kCount = 20000;
  double mean = 0, second = 0, fourth = 0;
  for (int seed = 0; seed < kCount; ++seed) {
    const HaarRotation rotation(kDim, static_cast<std::uint64_t>(seed));
    for (int c = 0; c < kDim; ++c) {
      const double entry = rotation.at(c, c);
      mean += entry, second += entry * entry, fourth += std::pow(entry, 4);
    }
  }
  const double n = double{kCount} * kDim;
  EXPECT_NEAR(mean / n, 0, 4e-3);
  EXPECT_NEAR(second / n, 1.0 / 6, 3e-3);
  EXPECT_NEAR(fourth / n, 3.0 / 48, 2e-3);
}

TEST(HaarRotation, SeedDeterminesTheMatrixForEver) {
  const HaarRotation rotation(128, 1);
  EXPECT_EQ(rotation.at(0, 0), 0x1.30323ep-5f);
  EXPECT_EQ(rotation.at(3, 77), 0x1.85e396p-4f);
  EXPECT_EQ(rotation.at(127, 127), 0x1.442054p-4f);
}

TEST(HaarRotation, RefusesSizes) {
  for (const int d : {-2, 0, 1, 63, 4098}) EXPECT_THROW(HaarRotation(d, 0), ConfigError) << d;
}

}  // namespace
}  // namespace veloxquant
