#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <span>
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
  const auto mixed = make_mixed_code(kPlan, true);
  EXPECT_EQ(mixed->spec().head_dim, 72);
  EXPECT_EQ(mixed->spec().code_bytes(), 8u + 12u + 6u);
  EXPECT_EQ(mixed->spec().scale_bytes(), 1u);
  EXPECT_EQ(make_mixed_code({}, false)->spec().code_bytes(), 0u);
}

// Every run has the distortion of its own code, from both sides: Lloyd-Max for the normal distribution
// (.009497 at 4 bits, .11748 at 2), and the trellis' measured one.
TEST(MixedCode, RunsHaveTheirDistortion) {
  std::mt19937 random(5);
  const auto mixed = make_mixed_code(kPlan, false);
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

// The trellis runs are one string: so are the distortions, which distortions() forecasts from fits.
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
    const auto mixed = make_mixed_code(plan, false);
    const std::vector<double> of_coordinates = distortions(plan);
    std::vector<double> forecast;
    std::size_t first = 0;
    for (const RunPlan& run : plan) {
      forecast.push_back(of_coordinates[first]);
      first += static_cast<std::size_t>(run.count);
    }
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

// Variances as plans meet them: 4 at the begin of a run for 1 at its end, times 4^bits.
std::vector<float> variances(const std::vector<RunPlan>& plan) {
  std::vector<float> lambda;
  for (const RunPlan& run : plan) {
    for (int t = 0; t < run.count; ++t) {
      const double within = (t + .5) / run.count;
      lambda.push_back(static_cast<float>(std::pow(4, run.bits + .5 - within)));
    }
  }
  return lambda;
}

// What a code does to each coordinate, measured on other vectors than coded_moments() takes.
struct Measured {
  std::vector<CodedMoments> moments;
  double weighted_error = 0;
};
Measured measure(const std::vector<RunPlan>& plan, std::span<const float> lambda,
                 const std::vector<float>& counts) {
  constexpr int kVectors = 4000;
  std::mt19937 random(9);
  const auto mixed = make_mixed_code(plan, false, lambda);
  const auto n = static_cast<std::size_t>(mixed->spec().head_dim);
  Measured measured{std::vector<CodedMoments>(n)};
  for (int i = 0; i < kVectors; ++i) {
    const std::vector<float> x = normal(mixed->spec().head_dim, 1, random), y = code(*mixed, x).values;
    for (std::size_t c = 0; c < n; ++c) {
      const auto a = static_cast<double>(x[c]), b = static_cast<double>(y[c]);
      measured.moments[c].along += a * b / kVectors;
      measured.moments[c].square += b * b / kVectors;
      measured.weighted_error += static_cast<double>(counts[c]) * (a - b) * (a - b) / kVectors;
    }
  }
  return measured;
}

const std::vector<RunPlan> kString = {{CodeKind::scalar, 5, 8},
                                      {CodeKind::trellis, 4, 16},
                                      {CodeKind::trellis, 3, 24},
                                      {CodeKind::trellis, 2, 40},
                                      {CodeKind::trellis, 1, 24}};

// Bits that neighbours share go to those that count more: 3 to 7 per cent less of what counts is lost.
TEST(MixedCode, LosesLessOfWhatCountsMore) {
  const std::vector<float> lambda = variances(kString);
  const double alike = measure(kString, {}, lambda).weighted_error,
               weighted = measure(kString, lambda, lambda).weighted_error;
  EXPECT_LT(weighted, .97 * alike);
  EXPECT_GT(weighted, .92 * alike);
  double forecast = 0;
  const std::vector<double> of = distortions(kString, lambda);
  for (std::size_t c = 0; c < of.size(); ++c) forecast += static_cast<double>(lambda[c]) * of[c];
  EXPECT_NEAR(forecast / weighted, 1, .03);
}

TEST(MixedCode, MomentsAreThoseOfItsCodes) {
  const std::vector<float> lambda = variances(kString);
  for (const std::span<const float> counts : {std::span<const float>(), std::span<const float>(lambda)}) {
    const std::vector<CodedMoments> told = coded_moments(kString, counts),
                                    measured = measure(kString, counts, lambda).moments;
    ASSERT_EQ(told.size(), measured.size());
    for (std::size_t c = 0; c < told.size(); ++c) {
      const double bound = c < 8 ? .09 : c < 88 ? .12 : .16;  // 4 standard errors of 512 vectors and more
      EXPECT_NEAR(told[c].along, measured[c].along, bound) << c;
      EXPECT_NEAR(told[c].square, measured[c].square, bound) << c;
    }
  }
}

// Eight coordinates of one width whose variances fall by 1000: whatever the small ones keep, none of them is decoded to
// more error than it has without a code, and none with the wrong sign.
TEST(MixedCode, SteepRunsAreNotBlownUp) {
  for (const int bits : {1, 2}) {
    std::vector<float> lambda;
    for (int c = 0; c < 8; ++c) lambda.push_back(std::pow(1e-3f, static_cast<float>(c) / 7));
    for (const CodedMoments& m : coded_moments(std::vector<RunPlan>{{CodeKind::trellis, bits, 8}}, lambda)) {
      for (const double factor : {m.unbiased(), m.nearest()}) {
        EXPECT_GE(factor, 0);
        EXPECT_LE(1 - 2 * m.along * factor + m.square * factor * factor, 1 + 1e-9);
      }
    }
  }
}

// A vector's energy goes to the gain: the same vector twice as large, or a quarter, has the same codes and a
// gain of another four or eight steps, up to the ends of the scale.
TEST(MixedCode, GainFollowsTheEnergy) {
  std::mt19937 random(7);
  const auto mixed = make_mixed_code(kPlan, true);
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
  const auto made = [](RunPlan run) { return make_mixed_code(std::vector<RunPlan>{run}, false); };
  EXPECT_THROW(made({CodeKind::trellis, 2, 6}), ConfigError);
  EXPECT_THROW(made({CodeKind::trellis, 2, 17}), ConfigError);
  EXPECT_THROW(made({CodeKind::trellis, 5, 16}), ConfigError);
  EXPECT_THROW(made({CodeKind::scalar, 9, 16}), ConfigError);
  EXPECT_THROW(made({CodeKind::scalar, 4, 0}), ConfigError);
  EXPECT_THROW(made({CodeKind::affine, 4, 64}), ConfigError);
  EXPECT_NO_THROW(made({CodeKind::trellis, 2, 18}));
  const std::vector<RunPlan> two = {{CodeKind::trellis, 2, 18}, {CodeKind::trellis, 1, 16}};
  EXPECT_THROW(make_mixed_code(two, false), ConfigError);
}

}  // namespace
}  // namespace veloxquant
