#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>
#include <veloxquant/core/error.hpp>

#include "codebook/row_code.hpp"

namespace veloxquant {
namespace {

std::vector<float> normal(int count, float deviation, std::mt19937& random) {
  std::normal_distribution<float> distribution(0, deviation);
  std::vector<float> x(static_cast<std::size_t>(count));
  for (float& value : x) value = distribution(random);
  return x;
}

struct Coded {
  std::vector<std::uint8_t> codes, scales;
  std::vector<float> values;
};

Coded code(const RowCode& code, const std::vector<float>& x) {
  Coded coded{std::vector<std::uint8_t>(code.spec().code_bytes()),
              std::vector<std::uint8_t>(code.spec().scale_bytes() + 1), std::vector<float>(x.size())};
  code.encode(x.data(), coded.codes.data(), coded.scales.data());
  decode_row(code.spec(), coded.codes.data(), coded.scales.data(), coded.values.data());
  return coded;
}

const std::vector<RunPlan> kPlan = {
    {CodeKind::scalar, 4, 16}, {CodeKind::trellis, 3, 32}, {CodeKind::scalar, 2, 24}};

TEST(MixedCode, TakesTheBytesOfItsRuns) {
  const auto mixed = make_mixed_code(kPlan, true, false);
  EXPECT_EQ(mixed->spec().head_dim, 72);
  EXPECT_EQ(mixed->spec().code_bytes(), 8u + 12u + 6u);
  EXPECT_EQ(mixed->spec().scale_bytes(), 1u);
  EXPECT_EQ(make_mixed_code({}, false, false)->spec().code_bytes(), 0u);
}

// Every run has the distortion of its own code, from both sides: Lloyd-Max for the normal distribution
// (.009497 at 4 bits, .11748 at 2), and the trellis' measured one.
TEST(MixedCode, RunsHaveTheirDistortion) {
  std::mt19937 random(5);
  const auto mixed = make_mixed_code(kPlan, false, false);
  double error[3] = {};
  constexpr int kVectors = 4000;
  for (int i = 0; i < kVectors; ++i) {
    const std::vector<float> x = normal(72, 1, random), y = code(*mixed, x).values;
    for (std::size_t c = 0; c < x.size(); ++c) {
      const double e = static_cast<double>(x[c]) - static_cast<double>(y[c]);
      error[c < 16 ? 0 : c < 48 ? 1 : 2] += e * e;
    }
  }
  EXPECT_NEAR(error[0] / (16.0 * kVectors), .009497, .0003);
  EXPECT_NEAR(error[2] / (24.0 * kVectors), .11748, .0025);
  // Trellis runs of 32 pay for their short tail: more than the .0197 of 128 elements, less than Lloyd-Max's
  // .03455.
  EXPECT_GT(error[1] / (32.0 * kVectors), .0197);
  EXPECT_LT(error[1] / (32.0 * kVectors), .0245);
}

// The trellis runs are one string: so are the distortions, which run_distortions() forecasts from fits.
TEST(MixedCode, RunsOfAStringHaveTheDistortionForecast) {
  std::mt19937 random(8);
  for (const std::vector<RunPlan>& plan :
       {std::vector<RunPlan>{{CodeKind::trellis, 4, 16},
                             {CodeKind::trellis, 3, 24},
                             {CodeKind::trellis, 2, 40},
                             {CodeKind::trellis, 1, 24}},
        std::vector<RunPlan>{{CodeKind::scalar, 5, 8},
                             {CodeKind::trellis, 4, 8},
                             {CodeKind::trellis, 3, 8},
                             {CodeKind::trellis, 2, 16},
                             {CodeKind::trellis, 1, 16}},
        std::vector<RunPlan>{
            {CodeKind::trellis, 2, 16}, {CodeKind::scalar, 3, 8}, {CodeKind::trellis, 1, 24}},
        std::vector<RunPlan>{{CodeKind::trellis, 4, 24}, {CodeKind::trellis, 2, 8}}}) {
    const auto mixed = make_mixed_code(plan, false, false);
    const std::vector<double> forecast = run_distortions(plan);
    std::vector<double> error(plan.size()), energy(plan.size());
    for (int i = 0; i < 6000; ++i) {
      const std::vector<float> x = normal(mixed->spec().head_dim, 1, random), y = code(*mixed, x).values;
      std::size_t c = 0;
      for (std::size_t r = 0; r < plan.size(); ++r) {
        for (int t = 0; t < plan[r].count; ++t, ++c) {
          const double e = static_cast<double>(x[c]) - static_cast<double>(y[c]);
          error[r] += e * e;
          energy[r] += static_cast<double>(x[c]) * static_cast<double>(x[c]);
        }
      }
    }
    double ratios = 0, coordinates = 0;
    for (std::size_t r = 0; r < plan.size(); ++r) {
      const double ratio = error[r] / energy[r] / forecast[r];
      EXPECT_NEAR(ratio, 1, .045) << mixed->spec().name() << ", run " << r;
      ratios += plan[r].count * ratio;
      coordinates += plan[r].count;
    }
    EXPECT_NEAR(ratios / coordinates, 1, .02) << mixed->spec().name();
  }
}

TEST(MixedCode, UnbiasedValuesKeepInnerProducts) {
  std::mt19937 random(6);
  const auto plain = make_mixed_code(kPlan, false, false), unbiased = make_mixed_code(kPlan, false, true);
  double along_plain = 0, along_unbiased = 0, square = 0;
  for (int i = 0; i < 4000; ++i) {
    const std::vector<float> x = normal(72, 1, random);
    const Coded a = code(*plain, x), b = code(*unbiased, x);
    EXPECT_EQ(a.codes, b.codes);
    for (std::size_t c = 48; c < 72; ++c) {  // the 2-bit run, where the bias is largest
      along_plain += static_cast<double>(x[c]) * static_cast<double>(a.values[c]);
      along_unbiased += static_cast<double>(x[c]) * static_cast<double>(b.values[c]);
      square += static_cast<double>(x[c]) * static_cast<double>(x[c]);
    }
  }
  EXPECT_NEAR(along_plain / square, 1 - .11748, .004);
  EXPECT_NEAR(along_unbiased / square, 1, .004);
}

// A vector's energy goes to the gain: the same vector twice as large, or a quarter, has the same codes and a
// gain of another four or eight steps, up to the ends of the scale.
TEST(MixedCode, GainFollowsTheEnergy) {
  std::mt19937 random(7);
  const auto mixed = make_mixed_code(kPlan, true, false);
  std::vector<float> x = normal(72, 1, random);
  const Coded one = code(*mixed, x);
  for (float& value : x) value *= 2;
  const Coded twice = code(*mixed, x);
  EXPECT_EQ(one.codes, twice.codes);
  EXPECT_EQ(int{twice.scales[0]}, int{one.scales[0]} + 4);
  for (float& value : x) value *= 1e6f;
  EXPECT_EQ(int{code(*mixed, x).scales[0]}, 15);
  EXPECT_EQ(int{code(*mixed, std::vector<float>(72, 0.0f)).scales[0]}, 0);
  for (int u = 0; u < kGainSteps; ++u) EXPECT_NEAR(gain_value(u), std::exp2((u - 8) / 4.0), 1e-6);
}

TEST(MixedCode, RefusesRunsItCannotCode) {
  const auto made = [](RunPlan run) { return make_mixed_code(std::vector<RunPlan>{run}, false, false); };
  EXPECT_THROW(made({CodeKind::trellis, 2, 6}), ConfigError);
  EXPECT_THROW(made({CodeKind::trellis, 2, 17}), ConfigError);
  EXPECT_THROW(made({CodeKind::trellis, 5, 16}), ConfigError);
  EXPECT_THROW(made({CodeKind::scalar, 9, 16}), ConfigError);
  EXPECT_THROW(made({CodeKind::scalar, 4, 0}), ConfigError);
  EXPECT_THROW(made({CodeKind::affine, 4, 64}), ConfigError);
  EXPECT_NO_THROW(made({CodeKind::trellis, 2, 18}));
  const std::vector<RunPlan> two = {{CodeKind::trellis, 2, 18}, {CodeKind::trellis, 1, 16}};
  EXPECT_THROW(make_mixed_code(two, false, false), ConfigError);
}

}  // namespace
}  // namespace veloxquant
