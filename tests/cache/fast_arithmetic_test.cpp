// The tests of this folder compare with double precision, so they run in the precise arithmetic; here is what
// the fast one may differ by, whatever the way in which the history came about.
#include <gtest/gtest.h>

#include <veloxquant/attention/arithmetic.hpp>

#include "cache/fixtures.hpp"

namespace veloxquant::testing {
namespace {

class PreciseArithmetic final : public ::testing::Environment {
 public:
  void SetUp() override { set_attention_arithmetic(AttentionArithmetic::precise); }
};
const ::testing::Environment* const kPrecise = ::testing::AddGlobalTestEnvironment(new PreciseArithmetic);

// |fast - precise| / |precise|.
double difference(const PackedKVCache& cache, const Tensor& queries, const AttentionMask& mask = {}) {
  const Tensor precise = cache.attend(queries, 0, mask);
  set_attention_arithmetic(AttentionArithmetic::fast);
  const Tensor fast = cache.attend(queries, 0, mask);
  set_attention_arithmetic(AttentionArithmetic::precise);
  double error = 0, norm = 0;
  for (std::int64_t i = 0; i < fast.numel(); ++i) {
    const auto a = static_cast<double>(fast.data<float>()[i]),
               b = static_cast<double>(precise.data<float>()[i]);
    error += (a - b) * (a - b);
    norm += b * b;
  }
  return std::sqrt(error / norm);
}

TEST(FastArithmetic, SeesTheSameTokens) {
  for (const char* method : {"turboquant_mse:4", "turboquant_mse:2", "rabitq:4", "rabitq:6"}) {
    PackedKVCache cache =
        make_cache({.keys = method, .values = method, .batch = 1, .sinks = 3, .recent = 10});
    const Tensor queries = random_vectors({1, 4, 1, 64}, 3);
    const auto grow = [&](std::int64_t tokens, unsigned seed) {
      cache.append(random_vectors({1, 2, tokens, 64}, seed), random_vectors({1, 2, tokens, 64}, seed + 1));
    };
    for (unsigned i = 0; i < 90; ++i) grow(1, 10 + 2 * i);
    EXPECT_LT(difference(cache, queries), 0.02) << method;
    grow(300, 300);
    EXPECT_LT(difference(cache, queries), 0.02) << method;
    EXPECT_LT(difference(cache, queries, {.window = 100}), 0.02) << method;
    cache.trim(130);  // into a packed block
    EXPECT_LT(difference(cache, queries), 0.02) << method;
    const auto copy = cache.clone();
    const auto [keys, values] = copy->state();
    grow(1, 400);
    EXPECT_LT(difference(cache, queries), 0.02) << method;
    const auto [keys_after, values_after] = copy->state();
    EXPECT_TRUE(same_floats(keys, keys_after));
    EXPECT_TRUE(same_floats(values, values_after));
    grow(64, 500);
    EXPECT_LT(difference(cache, queries), 0.02) << method;
    const auto [grown, grown_values] = cache.state();
    EXPECT_TRUE(same_floats(grown.slice(2, 0, 250).contiguous(), keys.slice(2, 0, 250).contiguous()));
  }
}

}  // namespace
}  // namespace veloxquant::testing
