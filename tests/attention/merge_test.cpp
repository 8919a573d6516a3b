// Partial results of any split of the history merge to the result of the whole.
#include <gtest/gtest.h>

#include "attention/attend.hpp"
#include "attention/random_cache.hpp"

namespace veloxquant::test {
namespace {

void expect_equal_results(const PartialBuffers& a, const PartialBuffers& b, int head_dim) {
  const auto dims = static_cast<std::size_t>(head_dim);
  for (std::size_t r = 0; r < a.max.size(); ++r) {
    if (a.max[r] != b.max[r]) {  // both may be -infinity
      ASSERT_NEAR(a.max[r], b.max[r], 1e-5f);
    }
    ASSERT_NEAR(a.sum[r], b.sum[r], 1e-5f * (1 + b.sum[r]));
    double error = 0, norm = 0;
    for (std::size_t c = 0; c < dims; ++c) {
      const double x = static_cast<double>(a.out[r * dims + c]), y = static_cast<double>(b.out[r * dims + c]);
      error += (x - y) * (x - y);
      norm += y * y;
    }
    ASSERT_LE(error, 1e-10 * norm) << "row " << r;
  }
}

TEST(Merge, RandomSplitsEqualTheWhole) {
  std::mt19937 random(21);
  const CodeSpec spec = make_spec({CodeKind::scalar, 4, 0}, 128);
  const TileDecoder decoder = tile_decoder(spec);
  AttendScratch scratch;
  for (int trial = 0; trial < 60; ++trial) {
    const int rows = trial % 2 == 0 ? 4 : 20;
    const auto visibility = static_cast<Visibility>(trial % 5);
    const RandomCache cache(spec, spec, 1 + static_cast<int>(random() % 700), true, random);
    const int tokens = static_cast<int>(cache.runs().back().first) + cache.runs().back().count;
    const RandomQueries queries(rows, 128, tokens, visibility, 2, random);
    PartialBuffers whole(rows, 128), merged(rows, 128);
    attend_runs(decoder, decoder, cache.runs(), queries.query(), whole.partial(), scratch);
    std::span<const TokenRun> rest = cache.runs();
    attend_runs(decoder, decoder, std::span<const TokenRun>(), queries.query(), merged.partial(), scratch);
    while (!rest.empty()) {
      const std::size_t taken = 1 + random() % rest.size();
      PartialBuffers part(rows, 128);
      attend_runs(decoder, decoder, rest.first(taken), queries.query(), part.partial(), scratch);
      if (trial % 3 == 0) {  // also in the other direction
        merge_partials(part.partial(), merged.partial(), rows, 128);
        merged = part;
      } else {
        merge_partials(merged.partial(), part.partial(), rows, 128);
      }
      rest = rest.subspan(taken);
    }
    SCOPED_TRACE("trial " + std::to_string(trial));
    expect_equal_results(merged, whole, 128);
    if (HasFatalFailure()) return;
  }
}

TEST(Merge, RowsThatSawNothing) {
  const float lowest = -std::numeric_limits<float>::infinity();
  PartialBuffers a(2, 2), b(2, 2);
  a.max = {lowest, lowest}, a.sum = {0, 0}, a.out = {0, 0, 0, 0};
  b.max = {lowest, 3.0f}, b.sum = {0, 2.0f}, b.out = {0, 0, 5.0f, 6.0f};
  merge_partials(a.partial(), b.partial(), 2, 2);
  EXPECT_EQ(a.max, b.max);
  EXPECT_EQ(a.sum, b.sum);
  EXPECT_EQ(a.out, b.out);
}

}  // namespace
}  // namespace veloxquant::test
