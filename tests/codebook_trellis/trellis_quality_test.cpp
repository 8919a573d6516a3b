// What the trellis codes promise: their distortion, the shape of their tables, and how near the search is to
// the best.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "codebook_trellis/trellis_samples.hpp"

namespace veloxquant {
namespace {

class TrellisQuality : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Widths, TrellisQuality, testing::Values(1, 2, 3, 4));

TEST_P(TrellisQuality, DistortionIsAsStated) {
  constexpr double kBar[] = {0, 0.283, 0.0775, 0.0214, 0.0059};
  const TrellisTable& table = trellis_table(GetParam());
  std::mt19937_64 random(20);
  double error = 0;
  constexpr int kVectors = 6000;
  for (int v = 0; v < kVectors; ++v) {
    const std::vector<float> z = on_sphere(128, random);
    error += squared_error(z, decoded(table, encoded(table, z), 128));
  }
  const double distortion = error / (128.0 * kVectors);
  EXPECT_NEAR(distortion, table.distortion, 0.01 * table.distortion);
  EXPECT_LE(distortion, kBar[GetParam()]);
  // No code of this rate can beat Shannon's bound for the sphere.
  EXPECT_GT(distortion, std::pow(4.0, -table.bits));
}

// Of short codes too, each measured length at its begin; they stay below Lloyd-Max codes.
TEST_P(TrellisQuality, ShortCodesHaveTheDistortionStated) {
  constexpr double kLloydMax[] = {0, .3634, .1175, .03455, .009497};
  const int bits = GetParam();
  std::mt19937_64 random(23);
  for (const int n : {8, 10, 12, 16, 24, 32, 48}) {
    double error = 0, energy = 0;
    for (int v = 0; v < 160000 / n; ++v) {
      const std::vector<float> z = gaussian(n, 1, random);
      error += squared_error(z, decoded(trellis_table(bits), encoded(trellis_table(bits), z), n));
      energy += squared_error(z, std::vector<float>(z.size()));
    }
    EXPECT_NEAR(error / energy, trellis_distortion(bits, n), 0.02 * trellis_distortion(bits, n)) << n;
    EXPECT_LT(trellis_distortion(bits, n), kLloydMax[bits]) << n;
  }
}

TEST_P(TrellisQuality, TableIsAntisymmetric) {
  const TrellisTable& table = trellis_table(GetParam());
  EXPECT_EQ(table.bits, GetParam());
  for (std::size_t w = 0; w < 256; ++w) {
    EXPECT_EQ(table.values[255 - w], -table.values[w]) << w;
    EXPECT_LE(std::abs(table.values[w]), 16383) << w;
  }
}

// The definition of the windows, bit by bit: the last ones go on at the first bit of the stream.
TEST_P(TrellisQuality, WindowsAreCyclic) {
  const TrellisTable& table = trellis_table(GetParam());
  std::mt19937_64 random(21);
  for (const int n : {8, 16, 18, 22, 128, 130}) {
    std::vector<std::uint8_t> codes = encoded(table, gaussian(n, 1, random));
    const std::vector<float> y = decoded(table, codes, n);
    const int end = n * table.bits;
    for (int t = 0; t < n; ++t) {
      std::size_t window = 0;
      for (int i = 0; i < 8; ++i) {
        const int at = (t * table.bits + i) % end;
        window |= static_cast<std::size_t>(codes[static_cast<std::size_t>(at / 8)] >> at % 8 & 1) << i;
      }
      EXPECT_EQ(y[static_cast<std::size_t>(t)], static_cast<float>(table.values[window]) / 4096.0F)
          << n << ' ' << t;
    }
  }
}

// The elements next to the seam are coded as well as the others.
TEST_P(TrellisQuality, SeamCostsLittle) {
  const TrellisTable& table = trellis_table(GetParam());
  std::mt19937_64 random(22);
  double near = 0;
  double far = 0;
  for (int v = 0; v < 4000; ++v) {
    const std::vector<float> z = on_sphere(128, random);
    const std::vector<float> y = decoded(table, encoded(table, z), 128);
    for (std::size_t t = 0; t < 128; ++t) {
      const double error = std::pow(static_cast<double>(z[t]) - static_cast<double>(y[t]), 2);
      (t < 8 || t >= 120 ? near : far) += error;
    }
  }
  EXPECT_LT(near / 16, 1.1 * far / 112);
}

// Against all 2^16 codes of 16 elements at 1 bit; only the rounding of the metrics stands between.
TEST(Trellis, ShortCodesAreTheBest) {
  const TrellisTable& table = trellis_table(1);
  std::mt19937_64 random(23);
  double found = 0;
  double best = 0;
  for (int repeat = 0; repeat < 60; ++repeat) {
    const std::vector<float> z = on_sphere(16, random);
    const double error = squared_error(z, decoded(table, encoded(table, z), 16));
    double least = error;
    for (unsigned code = 0; code < 1U << 16; ++code) {
      double sum = 0;
      for (unsigned t = 0; t < 16; ++t) {
        const unsigned window = (code >> t | code << (16 - t)) & 255U;
        const double difference = static_cast<double>(z[t]) - table.values[window] / 4096.0;
        sum += difference * difference;
      }
      least = std::min(least, sum);
    }
    found += error;
    best += least;
  }
  EXPECT_LE(found, 1.002 * best);
}

}  // namespace
}  // namespace veloxquant
