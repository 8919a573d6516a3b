#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <veloxquant/core/error.hpp>

#include "calibration/allocation.hpp"

namespace veloxquant {
namespace {

// lambda of coordinate c is (c / 8 + 1)^-decay: equal within a block of 8.
AllocationGroup group(int coordinates, double decay, double weight, int step = 8) {
  AllocationGroup result{{}, weight, step};
  for (int c = 0; c < coordinates; ++c)
    result.lambda.push_back(static_cast<float>(std::pow(c / 8 + 1, -decay)));
  return result;
}

int bits_of(const std::vector<RunPlan>& runs) {
  int bits = 0;
  for (const RunPlan& run : runs) bits += run.bits * run.count;
  return bits;
}

// The least predicted KL over all ways to give the blocks 0 to 6 bits within the budget; scalar codes.
double best_by_search(const std::vector<AllocationGroup>& groups, int budget) {
  std::vector<double> blocks;
  for (const AllocationGroup& g : groups) {
    for (std::size_t c = 0; c < g.lambda.size(); c += 8)
      blocks.push_back(8 * g.weight * static_cast<double>(g.lambda[c]) / 2);
  }
  const std::function<double(std::size_t, int)> best = [&](std::size_t block, int left) -> double {
    if (block == blocks.size()) return 0;
    double least = std::numeric_limits<double>::infinity();
    for (int b = 0; b <= kWidestCode && 8 * b <= left; ++b) {
      least = std::min(
          least, blocks[block] * code_distortion(CodeKind::scalar, b, 8) + best(block + 1, left - 8 * b));
    }
    return least;
  };
  return best(0, budget);
}

TEST(Allocation, EqualsBruteForceOnSmallCases) {
  const std::vector<AllocationGroup> groups = {group(24, 1.5, 1), group(16, 0.7, 5), group(16, 3, 0.2)};
  for (const double target : {0.5, 1.0, 1.7, 2.0, 3.0, 5.0}) {
    const Allocation found =
        allocate_bits(groups, {.target_bits = target, .code = RunCode::scalar, .gain = false});
    const double best = best_by_search(groups, static_cast<int>(target * 56));
    EXPECT_NEAR(found.predicted_kl, best, 1e-9 * best) << target;
  }
}

TEST(Allocation, HitsTheBudgetFromBelowWithGainsPaid) {
  std::vector<AllocationGroup> groups;
  for (int g = 0; g < 24; ++g)
    groups.push_back(group(128, 0.5 + 0.1 * g, std::pow(1.5, g % 7), g % 2 == 0 ? 8 : 16));
  for (double target = 0.5; target <= 4; target += 0.173) {
    const Allocation found = allocate_bits(groups, {.target_bits = target});
    EXPECT_LE(found.bits_per_element, target);
    EXPECT_GT(found.bits_per_element, target - 1.0 / 32);
    double bits = 0;
    for (const auto& runs : found.runs) bits += bits_of(runs) + (runs.empty() ? 0 : kGainBits);
    EXPECT_NEAR(found.bits_per_element, bits / (24 * 128), 1e-12);
  }
}

// Two groups in one byte pay for it once, and as a whole when only one of them codes anything.
TEST(Allocation, GroupsThatShareAByteOfGainsPayForItOnce) {
  const auto cost = [](double weight, int first, int second) {
    std::vector<AllocationGroup> groups = {group(64, 1, 1), group(64, 1, weight)};
    groups[0].gain_byte = first;
    groups[1].gain_byte = second;
    const Allocation found = allocate_bits(groups, {.target_bits = 2});
    double bits = found.bits_per_element * 128;
    for (const auto& runs : found.runs) bits -= bits_of(runs);
    return bits;
  };
  EXPECT_EQ(cost(1, 3, 3), 8);
  EXPECT_EQ(cost(1, 0, 1), 16);
  EXPECT_EQ(cost(0, 3, 3), 8);
  EXPECT_EQ(cost(0, -1, -1), kGainBits);
  EXPECT_EQ(cost(1, -1, -1), 2 * kGainBits);
}

TEST(Allocation, MakesRunsThatLayoutsAndTrellisesServe) {
  const Allocation found = allocate_bits({group(128, 1.2, 1), group(128, 0.4, 1, 16)}, {.target_bits = 3.3});
  for (std::size_t g = 0; g < 2; ++g) {
    int last = kWidestCode + 1;
    for (const RunPlan& run : found.runs[g]) {
      EXPECT_LT(run.bits, last);
      last = run.bits;
      EXPECT_EQ(run.count % (g == 0 ? 8 : 16), 0);
      EXPECT_EQ(run.kind == CodeKind::trellis, run.bits <= 4) << run.bits << " x " << run.count;
    }
  }
}

TEST(Allocation, GivesNothingToWhatDoesNotCount) {
  const Allocation found = allocate_bits({group(64, 1, 0), group(64, 1, 1)}, {.target_bits = 1});
  EXPECT_TRUE(found.runs[0].empty());
  EXPECT_FALSE(found.runs[1].empty());
}

TEST(Allocation, ForecastFallsWithTheBudget) {
  const std::vector<AllocationGroup> groups = {group(128, 1, 1), group(128, 2, 3)};
  double last = std::numeric_limits<double>::infinity();
  for (double target = 0.5; target <= 5; target += 0.25) {
    const double kl = allocate_bits(groups, {.target_bits = target}).predicted_kl;
    EXPECT_LT(kl, last);
    last = kl;
  }
}

TEST(Allocation, RefusesWhatHasNoMeaning) {
  const AllocationGroup good = group(64, 1, 1);
  EXPECT_THROW(allocate_bits({good}, {.target_bits = 0}), ConfigError);
  EXPECT_THROW(allocate_bits({good}, {.target_bits = 7}), ConfigError);
  AllocationGroup rising = good, wrong_step = good, negative = good;
  std::reverse(rising.lambda.begin(), rising.lambda.end());
  wrong_step.step = 12;
  negative.weight = -1;
  for (const AllocationGroup& bad : {rising, wrong_step, negative})
    EXPECT_THROW(allocate_bits({bad}, {}), ConfigError);
}

}  // namespace
}  // namespace veloxquant
