#include <veloxquant/codebook/lloyd_max.hpp>
#include <veloxquant/codebook/uniform.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <veloxquant/core/error.hpp>

#include "codebook/samples.hpp"

namespace veloxquant {
namespace {

using testing::normal_values;

// Density of variance one by its formula, and integrals by Simpson's rule: independent of the closed forms
// that the library solves with.
double density(double x, int d) {
  if (d == 0) return std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
  const double inside = 1 - x * x / d;
  const double constant = std::exp(std::lgamma(d / 2.0) - std::lgamma((d - 1) / 2.0)) / std::sqrt(M_PI * d);
  return inside > 0 ? constant * std::pow(inside, (d - 3) / 2.0) : 0;
}

template <class F>
double integrate(double a, double b, F f) {
  const int steps = 2 * static_cast<int>(100 + 200 * (b - a));
  const double h = (b - a) / steps;
  double sum = f(a) + f(b);
  for (int i = 1; i < steps; ++i) sum += (i % 2 ? 4 : 2) * f(a + i * h);
  return sum * h / 3;
}

double end_of(int d) { return d == 0 ? 12.0 : std::min(12.0, std::sqrt(d)); }

double integrated_distortion(const ScalarCodebook& book, int d) {
  double error = 0;
  for (std::size_t i = 0; i < book.centroids().size(); ++i) {
    const double a = i == 0 ? -end_of(d) : book.thresholds()[i - 1];
    const double b = i + 1 == book.centroids().size() ? end_of(d) : book.thresholds()[i];
    const double c = book.centroids()[i];
    error += integrate(a, b, [&](double x) { return (x - c) * (x - c) * density(x, d); });
  }
  return error;
}

TEST(LloydMax, TablesOfTheNormalDistribution) {
  const std::vector<std::vector<double>> known = {
      {.79788},
      {.45278, 1.51042},
      {.24509, .75601, 1.34391, 2.15195},
      {.12840, .38805, .65676, .94234, 1.25623, 1.61805, 2.06902, 2.73259}};
  for (int bits = 1; bits <= 4; ++bits) {
    const LloydMaxCodebook book(bits);
    const std::size_t half = book.centroids().size() / 2;
    ASSERT_EQ(half, known[bits - 1].size());
    for (std::size_t i = 0; i < half; ++i) {
      EXPECT_NEAR(book.centroids()[half + i], known[bits - 1][i], 1e-5) << bits;
      EXPECT_EQ(book.centroids()[half - 1 - i], -book.centroids()[half + i]);
    }
  }
}

TEST(LloydMax, TablesOfTheSphereInDimension128) {
  const std::vector<std::vector<double>> known = {
      {.45245, 1.50519},
      {.24442, .75333, 1.33660, 2.13147},
      {.12787, .38638, .65362, .93710, 1.24777, 1.60434, 2.04593, 2.68886}};
  for (int bits = 2; bits <= 4; ++bits) {
    const LloydMaxCodebook book(bits, 128);
    const std::size_t half = book.centroids().size() / 2;
    for (std::size_t i = 0; i < half; ++i)
      EXPECT_NEAR(book.centroids()[half + i], known[bits - 2][i], 1e-5) << bits;
  }
}

TEST(LloydMax, DistortionsOfTheTable) {
  const std::vector<std::pair<int, std::vector<double>>> known = {
      {32, {.35336, .11160, .03226, .00877, .00230}},  {64, {.35839, .11453, .03339, .00913, .00240}},
      {96, {.36006, .11551, .03377, .00925, .00243}},  {128, {.36089, .11600, .03397, .00932, .00245}},
      {256, {.36214, .11674, .03426, .00941, .00248}}, {0, {.36338, .11748, .03455, .00950, .00251}}};
  for (const auto& [d, distortions] : known)
    for (int bits = 1; bits <= 5; ++bits)
      EXPECT_NEAR(LloydMaxCodebook(bits, d).distortion(), distortions[bits - 1], 1e-5) << d << " " << bits;
  EXPECT_NEAR(LloydMaxCodebook(6).distortion(), .000644, 1e-6);
  EXPECT_NEAR(LloydMaxCodebook(7).distortion(), .000163, 1e-6);
  EXPECT_NEAR(LloydMaxCodebook(8).distortion(), .0000411, 1e-7);
}

TEST(LloydMax, SatisfiesBothConditionsUnderIndependentIntegration) {
  for (const int d : {0, 3, 4, 5, 16, 64, 80, 96, 112, 128, 192, 256, 1024})
    for (int bits = 1; bits <= 8; ++bits) {
      const LloydMaxCodebook book(bits, d);
      const auto c = book.centroids(), t = book.thresholds();
      for (std::size_t i = 0; i + 1 < c.size(); ++i) {
        ASSERT_LT(c[i], c[i + 1]);
        ASSERT_EQ(t[i], 0.5f * (c[i] + c[i + 1]));
      }
      for (std::size_t i = c.size() / 2; i < c.size(); ++i) {
        const double a = t[i - 1], b = i + 1 == c.size() ? end_of(d) : t[i];
        if (d == 4 && i + 1 == c.size())
          continue;  // the density ends with an infinite slope: Simpson is too rough
        const double mass = integrate(a, b, [&](double x) { return density(x, d); });
        const double moment = integrate(a, b, [&](double x) { return x * density(x, d); });
        ASSERT_NEAR(c[i], moment / mass, 3e-6) << d << " " << bits << " " << i;
      }
      if (d != 4) {
        EXPECT_NEAR(book.distortion(), integrated_distortion(book, d), 1e-9 + 1e-5 * book.distortion());
      }
    }
}

TEST(Uniform, StepsAreMaxsAndOptimal) {
  const double steps[] = {1.596, .9957, .5860, .3352, .1881, .1041, .0569, .0308};
  const double distortions[] = {.3634, .1188, .03744, .01154, .003495, .001041, .0003043, .0000877};
  for (int bits = 1; bits <= 8; ++bits) {
    const UniformCodebook book(bits);
    EXPECT_NEAR(book.step(), steps[bits - 1], 6e-5 + (bits == 1 ? 5e-4 : 0)) << bits;
    EXPECT_NEAR(book.distortion(), distortions[bits - 1], 2e-3 * distortions[bits - 1]) << bits;
    EXPECT_NEAR(book.distortion(), integrated_distortion(book, 0), 1e-9);
    for (std::size_t i = 0; i + 1 < book.centroids().size(); ++i)
      ASSERT_EQ(book.centroids()[i + 1] - book.centroids()[i], book.step());
    EXPECT_GE(book.distortion(), LloydMaxCodebook(bits).distortion() - 1e-12);
  }
}

TEST(ScalarCodebook, IndexIsTheNearestCentroid) {
  const auto x = normal_values(4000, 3);
  for (const int d : {0, 2, 4, 64, 128})
    for (int bits = 1; bits <= 8; ++bits) {
      const LloydMaxCodebook book(bits, d);
      const auto c = book.centroids();
      for (const float value : x) {
        const float chosen = c[book.index(value)];
        for (const float other : c)
          ASSERT_LE(std::fabs(double{value} - chosen), std::fabs(double{value} - other));
      }
      EXPECT_EQ(book.index(1e30f), c.size() - 1);
      EXPECT_EQ(book.index(-std::numeric_limits<float>::infinity()), 0);
      EXPECT_EQ(book.index(0.0f), c.size() / 2);
      EXPECT_EQ(book.index(-0.0f), c.size() / 2 - 1);
      for (const float t : book.thresholds()) {
        if (t <= 0) continue;
        const std::size_t i = book.index(t);  // on the threshold: the centroid nearer to zero
        EXPECT_LT(c[i], t);
        EXPECT_EQ(book.index(std::nextafter(t, 100.0f)), i + 1);
        EXPECT_EQ(book.index(-t), c.size() - 1 - i);
      }
    }
}

TEST(ScalarCodebook, TensorsOfAnyShapeAndStride) {
  const LloydMaxCodebook book(3);
  auto values = normal_values(24, 5);
  const Tensor x = Tensor::copy_of<float>(values, {2, 3, 4});
  const Tensor every_other = Tensor::wrap(values.data(), {12}, DType::f32, {2});
  for (const Tensor& input : {x, x.to(DType::bf16), x.to(DType::f16), every_other}) {
    const Tensor indices = book.quantize(input);
    EXPECT_EQ(indices.dtype(), DType::u8);
    EXPECT_EQ(indices.shape(), input.shape());
    const Tensor y = book.dequantize(indices);
    EXPECT_EQ(y.shape(), input.shape());
    const Tensor flat = input.to(DType::f32).contiguous();
    for (std::int64_t i = 0; i < flat.numel(); ++i)
      EXPECT_EQ(y.data<float>()[i], book.centroids()[book.index(flat.data<float>()[i])]);
  }
}

TEST(ScalarCodebook, RefusesWhatItCannotCode) {
  EXPECT_THROW(LloydMaxCodebook(0), ConfigError);
  EXPECT_THROW(LloydMaxCodebook(9), ConfigError);
  EXPECT_THROW(LloydMaxCodebook(4, 1), ConfigError);
  EXPECT_THROW(LloydMaxCodebook(4, -8), ConfigError);
  EXPECT_THROW(UniformCodebook(0), ConfigError);
  const LloydMaxCodebook book(2);
  std::vector<float> bad = {1, 2, std::numeric_limits<float>::quiet_NaN()};
  EXPECT_THROW(book.quantize(Tensor::copy_of<float>(bad, {3})), NumericError);
  EXPECT_THROW(book.quantize(Tensor::zeros({3}, DType::i32)), DTypeError);
  EXPECT_THROW(book.dequantize(Tensor::zeros({3}, DType::f32)), DTypeError);
  std::vector<std::uint8_t> beyond = {3, 4};
  EXPECT_THROW(book.dequantize(Tensor::copy_of<std::uint8_t>(beyond, {2})), NumericError);
}

}  // namespace
}  // namespace veloxquant
