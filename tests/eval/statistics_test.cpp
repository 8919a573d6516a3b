#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/statistics.hpp>
#include <veloxquant/eval/windows.hpp>

namespace veloxquant {
namespace {

TEST(Statistics, MeanAndStandardError) {
  const std::array values = {1.0, 2.0, 3.0, 6.0};
  const MeanEstimate e = estimate(values);
  EXPECT_DOUBLE_EQ(*e.mean, 3.0);
  EXPECT_DOUBLE_EQ(*e.standard_error, std::sqrt(14.0 / 3.0 / 4.0));
}

TEST(Statistics, TooFewValuesHaveNoFigure) {
  EXPECT_FALSE(estimate({}).mean);
  const std::array one = {5.0};
  EXPECT_DOUBLE_EQ(*estimate(one).mean, 5.0);
  EXPECT_FALSE(estimate(one).standard_error);
  EXPECT_FALSE(spread({}));
}

TEST(Statistics, SpreadOfOddAndEvenCounts) {
  const std::array odd = {3.0, 1.0, 2.0};
  const std::array even = {4.0, 1.0, 2.0, 3.0};
  EXPECT_DOUBLE_EQ(spread(odd)->median, 2.0);
  const auto s = spread(even);
  EXPECT_DOUBLE_EQ(s->median, 2.5);
  EXPECT_DOUBLE_EQ(s->min, 1.0);
  EXPECT_DOUBLE_EQ(s->max, 4.0);
}

TokenIds counting(std::uint32_t count) {
  TokenIds ids(count);
  for (std::uint32_t i = 0; i < count; ++i) ids[i] = i;
  return ids;
}

TEST(Windows, StartEverySeqLenTokensAfterTheSkip) {
  const TokenIds ids = counting(30);
  const auto windows = cut_windows(ids, 99, 8, 3, 3);
  ASSERT_EQ(windows.size(), 3u);
  EXPECT_EQ(windows[0], (TokenIds{99, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(windows[1], (TokenIds{99, 11, 12, 13, 14, 15, 16, 17}));
  EXPECT_EQ(windows[2], (TokenIds{99, 19, 20, 21, 22, 23, 24, 25}));
}

TEST(Windows, WithoutABosTokenAllTokensAreText) {
  const auto windows = cut_windows(counting(9), {}, 4, 0, 9);
  ASSERT_EQ(windows.size(), 2u);
  EXPECT_EQ(windows[1], (TokenIds{4, 5, 6, 7}));
}

TEST(Windows, AShortTextGivesFewerAndTheLastMayEndWithTheText) {
  EXPECT_EQ(cut_windows(counting(15), 99, 8, 0, 4).size(), 2u);  // 7 of the second 8 tokens are there
  EXPECT_EQ(cut_windows(counting(14), 99, 8, 0, 4).size(), 1u);
}

TEST(Windows, RefusesWhatHasNoMeaning) {
  EXPECT_THROW(cut_windows(counting(6), 99, 8, 0, 1), ConfigError);
  EXPECT_THROW(cut_windows(counting(60), 99, 8, 54, 1), ConfigError);
  EXPECT_THROW(cut_windows(counting(60), 99, 8, 61, 1), ConfigError);
  EXPECT_THROW(cut_windows(counting(60), 99, 1, 0, 1), ConfigError);
  EXPECT_THROW(cut_windows(counting(60), 99, 8, -1, 1), ConfigError);
  EXPECT_THROW(cut_windows(counting(60), 99, 8, 0, 0), ConfigError);
}

}  // namespace
}  // namespace veloxquant
