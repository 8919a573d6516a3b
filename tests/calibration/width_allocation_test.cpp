#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <veloxquant/core/error.hpp>

#include "calibration/width_allocation.hpp"

namespace veloxquant {
namespace {

using Groups = std::vector<std::vector<WidthChoice>>;

// The least loss over all combinations within the budget; infinite when there is none.
double best_by_search(const Groups& groups, std::int64_t budget) {
  const std::function<double(std::size_t, std::int64_t)> best = [&](std::size_t g,
                                                                    std::int64_t left) -> double {
    if (g == groups.size()) return 0;
    double least = std::numeric_limits<double>::infinity();
    for (const WidthChoice& choice : groups[g]) {
      if (choice.bits <= left) least = std::min(least, choice.loss + best(g + 1, left - choice.bits));
    }
    return least;
  };
  return best(0, budget);
}

void expect_sums_of_what_is_chosen(const Groups& groups, std::int64_t budget, const WidthAllocation& found) {
  ASSERT_EQ(found.chosen.size(), groups.size());
  std::int64_t bits = 0;
  double loss = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    bits += groups[g][found.chosen[g]].bits;
    loss += groups[g][found.chosen[g]].loss;
  }
  EXPECT_EQ(found.bits, bits);
  EXPECT_NEAR(found.loss, loss, 1e-12 * loss);
  EXPECT_LE(found.bits, budget);
}

// Any curves: unevenly spaced, not convex, rising in places, in any order.
TEST(WidthAllocation, EqualsBruteForceOnRandomCurves) {
  std::mt19937 random(1);
  const auto upto = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  for (int trial = 0; trial < 400; ++trial) {
    Groups groups(static_cast<std::size_t>(1 + upto(6)));
    std::int64_t narrow = 0, wide = 0;
    for (auto& choices : groups) {
      std::int64_t least = 1000, most = 0;
      for (int i = 1 + upto(5); i > 0; --i) {
        choices.push_back({1 + upto(40), std::exp(0.002 * upto(4000))});
        least = std::min(least, choices.back().bits);
        most = std::max(most, choices.back().bits);
      }
      narrow += least;
      wide += most;
    }
    for (int step = 0; step < 6; ++step) {
      const std::int64_t budget = narrow + (wide - narrow) * step / 5;
      const WidthAllocation found = allocate_widths(groups, budget);
      expect_sums_of_what_is_chosen(groups, budget, found);
      const double best = best_by_search(groups, budget);
      EXPECT_NEAR(found.loss, best, 1e-12 * best) << trial << " " << budget;
    }
  }
}

// Weights and distortions as they are measured, and equal ones, which leave many combinations alike.
TEST(WidthAllocation, EqualsBruteForceOnMeasuredCurves) {
  const double distortion[] = {0.36, 0.116, 0.034, 0.0093};
  for (const double ratio : {1.0, 1.7, 6.0}) {
    for (const std::vector<int>& widths : {std::vector{1, 2, 3, 4}, {1, 2, 4}, {2, 3}}) {
      Groups groups(8);
      for (std::size_t g = 0; g < groups.size(); ++g) {
        for (const int width : widths) {
          groups[g].push_back({128 * width + 16, std::pow(ratio, static_cast<double>(g * 5 % 8)) *
                                                     distortion[static_cast<std::size_t>(width - 1)]});
        }
      }
      for (double bits = widths.front() + 0.125; bits <= widths.back() + 0.125; bits += 0.17) {
        const auto budget = static_cast<std::int64_t>(bits * 8 * 128);
        const WidthAllocation found = allocate_widths(groups, budget);
        expect_sums_of_what_is_chosen(groups, budget, found);
        const double best = best_by_search(groups, budget);
        EXPECT_NEAR(found.loss, best, 1e-12 * best) << ratio << " " << bits;
      }
    }
  }
}

TEST(WidthAllocation, HitsTheBudgetToA32ndBitFromBelow) {
  const double distortion[] = {0.36, 0.116, 0.034, 0.0093};
  Groups groups(64);
  for (std::size_t g = 0; g < groups.size(); ++g) {
    for (int width = 1; width <= 4; ++width) {
      groups[g].push_back({128 * width + 16, std::pow(1.3, static_cast<double>(g * 7 % 23)) *
                                                 distortion[static_cast<std::size_t>(width - 1)]});
    }
  }
  for (double target = 1.125; target <= 4.125; target += 0.0371) {
    const auto elements = static_cast<double>(64 * 128);
    const WidthAllocation found = allocate_widths(groups, static_cast<std::int64_t>(target * elements));
    const double bits = static_cast<double>(found.bits) / elements;
    EXPECT_LE(bits, target);
    EXPECT_GT(bits, target - 1.0 / 32);
  }
}

// Where a walk along the curves' convex hulls cannot get: it takes the better gain per bit first and then has no room.
TEST(WidthAllocation, IsBetterThanAWalkByGain) {
  const Groups groups = {{{0, 10}, {6, 3}}, {{0, 10}, {5, 5}}, {{0, 10}, {5, 5}}};
  const WidthAllocation found = allocate_widths(groups, 10);
  EXPECT_EQ(found.chosen, (std::vector<std::size_t>{0, 1, 1}));
  EXPECT_EQ(found.loss, 20);
}

TEST(WidthAllocation, SpendsNothingOnWhatDoesNotCount) {
  const Groups groups = {{{16, 0}, {32, 0}}, {{16, 3}, {32, 1}}};
  EXPECT_EQ(allocate_widths(groups, 64).chosen, (std::vector<std::size_t>{0, 1}));
}

// 80 layers of 8 heads and a head size whose widths have no common step.
TEST(WidthAllocation, ServesLargeModels) {
  const double distortion[] = {0.36, 0.116, 0.034, 0.0093};
  std::mt19937 random(2);
  Groups groups(1280);
  for (auto& choices : groups) {
    const double weight = std::exp(0.01 * static_cast<double>(random() % 800));
    const std::int64_t bits[] = {13, 25, 38, 50};
    for (std::size_t i = 0; i < 4; ++i)
      choices.push_back(
          {8 * (bits[i] + 2), weight * distortion[i] * (1 + 1e-4 * static_cast<double>(random() % 1000))});
  }
  std::int64_t budget = 1280 * 250;
  const WidthAllocation found = allocate_widths(groups, budget);
  expect_sums_of_what_is_chosen(groups, budget, found);
  EXPECT_GT(found.bits, budget - 8 * 12);
  // No exchange of two groups' widths helps.
  for (std::size_t a = 0; a + 1 < groups.size(); ++a) {
    for (const std::size_t b : {a + 1, (a * 31 + 7) % groups.size()}) {
      if (a == b) continue;
      const WidthChoice &now_a = groups[a][found.chosen[a]], &now_b = groups[b][found.chosen[b]];
      for (const WidthChoice& to_a : groups[a]) {
        for (const WidthChoice& to_b : groups[b]) {
          if (found.bits - now_a.bits - now_b.bits + to_a.bits + to_b.bits > budget) continue;
          EXPECT_GE(to_a.loss + to_b.loss, (now_a.loss + now_b.loss) * (1 - 1e-9));
        }
      }
    }
  }
}

TEST(WidthAllocation, RefusesWhatHasNoMeaning) {
  EXPECT_THROW(allocate_widths({{{8, 1}}, {}}, 100), ConfigError);
  EXPECT_THROW(allocate_widths({{{8, NAN}}}, 100), ConfigError);
  EXPECT_THROW(allocate_widths({{{8, -1}}}, 100), ConfigError);
  EXPECT_THROW(allocate_widths({{{8, 1}}, {{9, 1}, {12, 0}}}, 16), ConfigError);
  EXPECT_EQ(allocate_widths({{{8, 1}}, {{9, 1}, {12, 0}}}, 17).bits, 17);
}

// Losses on a line, where the bound excludes nothing: 16 million pairs of the first two groups, of which 8,001
// would be kept in the end.
TEST(WidthAllocation, HoldsNoMoreStatesThanItMay) {
  std::vector<WidthChoice> line;
  for (std::int64_t bits = 0; bits < 4096; ++bits) line.push_back({bits, static_cast<double>(4095 - bits)});
  EXPECT_THROW(allocate_widths({line, line, line}, 8000), ConfigError);
}

}  // namespace
}  // namespace veloxquant
