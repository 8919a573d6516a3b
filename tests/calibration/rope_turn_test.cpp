#include "transform/rope_turn.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "calibration/samples.hpp"
#include "linalg/symmetric.hpp"

namespace veloxquant {
namespace {

constexpr int kDim = 12;

RopeConfig rope(RopeConfig::Pairing pairing, int rotary_dim) {
  RopeConfig config;
  config.rotary_dim = rotary_dim;
  config.pairing = pairing;
  return config;
}

class RopeTurnTest : public ::testing::TestWithParam<std::pair<RopeConfig::Pairing, int>> {};

TEST_P(RopeTurnTest, TurnsBackWhatItTurned) {
  const RopeTurn turn(rope(GetParam().first, GetParam().second), kDim);
  const std::vector<float> x = testing::correlated_rows(1, kDim, 3);
  std::vector<float> y(kDim);
  const TurnAngles angles = turn.angles(1234);
  turn.forwards(angles, x.data(), y.data());
  double moved = 0;
  for (std::size_t i = 0; i < kDim; ++i) moved += std::fabs(static_cast<double>(y[i] - x[i]));
  EXPECT_GT(moved, 0.1);
  turn.back(angles, y.data(), y.data());
  for (std::size_t i = 0; i < kDim; ++i) EXPECT_NEAR(y[i], x[i], 1e-5f);
}

// R as a matrix: what it does to the unit vectors.
std::vector<double> matrix_of(const RopeTurn& turn, std::int64_t position) {
  std::vector<double> matrix(kDim * kDim);
  for (std::size_t c = 0; c < kDim; ++c) {
    std::vector<float> unit(kDim);
    unit[c] = 1;
    turn.forwards(turn.angles(position), unit.data(), unit.data());
    for (std::size_t r = 0; r < kDim; ++r) matrix[r * kDim + c] = static_cast<double>(unit[r]);
  }
  return matrix;
}

TEST_P(RopeTurnTest, AverageIsTheMeanOfTurnedMatrices) {
  const RopeTurn turn(rope(GetParam().first, GetParam().second), kDim);
  const std::vector<float> rows = testing::correlated_rows(kDim, kDim, 4);
  const std::vector<double> a(rows.begin(), rows.end());  // not symmetric: the formula must not rely on it
  for (const std::int64_t frame : {1, 7, 64}) {
    std::vector<double> mean(a.size());
    for (std::int64_t t = 0; t < frame; ++t) {
      const std::vector<double> r = matrix_of(turn, t), turned = multiply(r, a, kDim);
      for (std::size_t i = 0; i < kDim; ++i) {
        for (std::size_t j = 0; j < kDim; ++j) {
          double sum = 0;
          for (std::size_t k = 0; k < kDim; ++k) sum += turned[i * kDim + k] * r[j * kDim + k];
          mean[i * kDim + j] += sum / static_cast<double>(frame);
        }
      }
    }
    const std::vector<double> average = turn.average(a, frame);
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(average[i], mean[i], 2e-5) << frame << " " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Pairings, RopeTurnTest,
                         ::testing::Values(std::pair(RopeConfig::Pairing::half_split, kDim),
                                           std::pair(RopeConfig::Pairing::interleaved, kDim),
                                           std::pair(RopeConfig::Pairing::half_split, 8)));

}  // namespace
}  // namespace veloxquant
