#include "calibration/key_metric.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "calibration/samples.hpp"

namespace veloxquant {
namespace {

constexpr int kDim = 8;
constexpr std::int64_t kTokens = 40;

// The sum over pairs from the definition.
std::vector<double> metric_by_definition(const MetricInput& in, const RopeTurn& turn) {
  const std::size_t dim = kDim, samples = in.sampled.size();
  std::vector<double> metric(dim * dim);
  for (std::size_t s = 0; s < samples; ++s) {
    for (std::int64_t i = in.sampled[s]; i < kTokens; ++i) {
      const auto row = static_cast<std::size_t>(i), key = static_cast<std::size_t>(in.sampled[s]);
      double effect = 0;
      for (std::size_t a = 0; a < dim; ++a) {
        for (std::size_t b = 0; b < dim; ++b) {
          const auto difference = [&](std::size_t c) {
            return static_cast<double>(in.values[key * dim + c]) -
                   static_cast<double>(in.outputs[row * dim + c]);
          };
          effect += difference(a) * static_cast<double>(in.output_gram[a * dim + b]) * difference(b);
        }
      }
      const auto p = static_cast<double>(in.probabilities[row * samples + s]);
      std::vector<float> u(dim);
      turn.back(turn.angles(in.sampled[s]), in.queries + row * dim, u.data());
      for (std::size_t a = 0; a < dim; ++a) {
        for (std::size_t b = 0; b < dim; ++b) {
          metric[a * dim + b] +=
              p * p * effect * static_cast<double>(u[a]) * static_cast<double>(u[b]) / kDim;
        }
      }
    }
  }
  return metric;
}

TEST(KeyMetric, IsTheWeightedSecondMomentOfTurnedQueries) {
  RopeConfig rope;
  rope.rotary_dim = kDim;
  const RopeTurn turn(rope, kDim);
  const auto queries = testing::correlated_rows(kTokens, kDim, 1),
             outputs = testing::correlated_rows(kTokens, kDim, 2);
  const auto values = testing::correlated_rows(kTokens, kDim, 3);
  std::vector<float> gram(kDim * kDim);
  for (std::size_t c = 0; c < kDim; ++c) gram[c * kDim + c] = static_cast<float>(c + 1);
  const std::vector<std::int64_t> sampled = {2, 9, 17, 30};
  std::vector<float> probabilities(kTokens * sampled.size());
  for (std::size_t i = 0; i < kTokens; ++i) {
    for (std::size_t s = 0; s < sampled.size(); ++s) {
      if (static_cast<std::int64_t>(i) >= sampled[s])
        probabilities[i * sampled.size() + s] = 1 / static_cast<float>(i + 1);
    }
  }
  const MetricInput in{.head_dim = kDim,
                       .tokens = kTokens,
                       .queries = queries.data(),
                       .outputs = outputs.data(),
                       .values = values.data(),
                       .output_gram = gram,
                       .sampled = sampled,
                       .probabilities = probabilities.data()};
  // Drawn with 64 equal shares of at most 38 terms: the mean over seeds comes near the sum.
  constexpr int kSeeds = 200;
  std::vector<double> metric(kDim * kDim);
  double squares = 0;
  for (int seed = 0; seed < kSeeds; ++seed) {
    squares = add_key_metric(in, turn, 1.0 / kSeeds, static_cast<std::uint64_t>(seed), metric) * kSeeds;
  }
  const std::vector<double> exact = metric_by_definition(in, turn);
  const double largest = *std::max_element(exact.begin(), exact.end());
  for (std::size_t i = 0; i < exact.size(); ++i) EXPECT_NEAR(metric[i], exact[i], 0.01 * largest) << i;
  const double sum = std::accumulate(
      probabilities.begin(), probabilities.end(), 0.0,
      [](double total, float p) { return total + static_cast<double>(p) * static_cast<double>(p); });
  EXPECT_NEAR(squares, sum, 1e-5 * sum);
}

}  // namespace
}  // namespace veloxquant
