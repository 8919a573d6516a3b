#include <gtest/gtest.h>

#include <fmt/format.h>
#include <veloxquant/core/artifact_store.hpp>

#include "fixtures.hpp"

namespace veloxquant {
namespace {

using namespace veloxquant::testing;

constexpr double kTolerance = 1e-5;

// A method from outside that implements Quantizer alone, without a code that the kernels know.
class Halves final : public Quantizer {
 public:
  explicit Halves(const QuantizerOptions&) {}
  EncodedVector encode(const Tensor& x) const override {
    return {.indices = x.to(DType::bf16),
            .scale = {},
            .metadata = {},
            .original_shape = x.shape(),
            .dtype = x.dtype()};
  }
  Tensor decode(const EncodedVector& e) const override { return e.indices.to(DType::f32).to(e.dtype); }
};
VELOXQUANT_REGISTER_QUANTIZER("cache_test_halves", Halves);

double error_of(const PackedKVCache& cache, const Tensor& queries, std::vector<std::int64_t> lengths = {},
                const AttentionMask& mask = {}, float scale = 0) {
  const bool ragged = !lengths.empty();
  if (!ragged) lengths.assign(static_cast<std::size_t>(queries.dim(0)), queries.dim(2));
  const Tensor out =
      ragged ? cache.attend_ragged(queries, lengths, scale, mask) : cache.attend(queries, scale, mask);
  EXPECT_EQ(out.shape(), queries.shape());
  return relative_error(out, plain_attention(cache, queries, lengths, double{scale}, mask));
}

struct Case {
  int batch, group;
  std::int64_t sinks, recent;
};

class AttendCases : public ::testing::TestWithParam<Case> {};

TEST_P(AttendCases, EqualsThePlainComputation) {
  const auto [batch, group, sinks, recent] = GetParam();
  for (const std::int64_t size : {1, 5, 64, 150}) {
    for (const std::int64_t queries : {1, 3, 40, 150}) {
      if (queries > size) continue;
      PackedKVCache cache = make_cache({.keys = "turboquant_mse:4",
                                        .values = "affine:4",
                                        .batch = batch,
                                        .sinks = sinks,
                                        .recent = recent});
      cache.append(random_vectors({batch, 2, size, 64}, 1), random_vectors({batch, 2, size, 64}, 2));
      const Tensor q = random_vectors({batch, 2 * group, queries, 64}, 3);
      for (const AttentionMask mask : {AttentionMask{},
                                       {.causal = false},
                                       {.causal = true, .window = 1},
                                       {.causal = true, .window = 70}}) {
        EXPECT_LE(error_of(cache, q, {}, mask), kTolerance) << fmt::format(
            "{} tokens, {} queries, causal {}, window {}", size, queries, mask.causal, mask.window);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, AttendCases,
                         ::testing::Values(Case{1, 1, 0, 0}, Case{3, 4, 0, 0}, Case{1, 8, 4, 0},
                                           Case{3, 1, 0, 20}, Case{1, 4, 3, 33}, Case{1, 4, 200, 10},
                                           Case{1, 1, 2, 200}));

TEST(Attend, ServesEveryMethodAndMixture) {
  for (const auto& [keys, values] :
       std::vector<std::pair<const char*, const char*>>{{"fp32", "fp32"},
                                                        {"fp16", "trellis:2"},
                                                        {"trellis:3", "fp8"},
                                                        {"q8_0", "q4_0:4:transform=hadamard"},
                                                        {"affine:3", "turboquant_mse:2:transform=haar"},
                                                        {"rabitq:4", "rabitq:1"},
                                                        {"rabitq:7:transform=haar", "rabitq:2:scale=matched"},
                                                        {"cache_test_halves", "cache_test_halves"},
                                                        {"turboquant_mse:4", "cache_test_halves"},
                                                        {"cache_test_halves", "trellis:4"}}) {
    PackedKVCache cache = make_cache({.keys = keys, .values = values, .sinks = 2, .recent = 9});
    cache.append(random_vectors({1, 2, 300, 64}, 1), random_vectors({1, 2, 300, 64}, 2));
    for (const std::int64_t queries : {1, 70}) {
      EXPECT_LE(error_of(cache, random_vectors({1, 8, queries, 64}, 3)), kTolerance) << keys << " " << values;
    }
  }
}

TEST(Attend, AddsBackTheCentres) {
  for (const char* method :
       {"turboquant_mse:4:centre=true", "rabitq:3:centre=true", "affine:4:centre=true"}) {
    const auto config = std::make_shared<const KVCacheConfig>(
        options_of({.keys = method, .values = method, .sinks = 2, .recent = 9}));
    const auto artifacts = std::make_shared<ArtifactStore>();
    artifacts->put("layers.0.keys.mean", random_vectors({2, 64}, 7, 3));
    artifacts->put("layers.0.values.mean", random_vectors({2, 64}, 8, 3));
    PackedKVCache cache(config, 0, artifacts);
    cache.append(random_vectors({1, 2, 200, 64}, 1), random_vectors({1, 2, 200, 64}, 2));
    EXPECT_LE(error_of(cache, random_vectors({1, 4, 30, 64}, 3)), kTolerance) << method;
  }
}

TEST(Attend, ServesRaggedBatches) {
  PackedKVCache cache = make_cache({.batch = 3, .sinks = 2, .recent = 7});
  cache.append_ragged(random_vectors({3, 2, 200, 64}, 1), {}, std::vector<std::int64_t>{200, 0, 65});
  cache.append_ragged(random_vectors({3, 2, 50, 64}, 2), {}, std::vector<std::int64_t>{1, 0, 50});
  const Tensor q = random_vectors({3, 8, 50, 64}, 3);
  for (const AttentionMask mask : {AttentionMask{}, {.causal = false}, {.causal = true, .window = 30}}) {
    EXPECT_LE(error_of(cache, q, {1, 0, 50}, mask), kTolerance);
  }
}

TEST(Attend, ServesManyTokens) {
  PackedKVCache cache = make_cache({.kv_heads = 1, .sinks = 4, .recent = 2500});
  cache.append(random_vectors({1, 1, 9000, 64}, 1), random_vectors({1, 1, 9000, 64}, 2));
  EXPECT_LE(error_of(cache, random_vectors({1, 4, 1, 64}, 3)), kTolerance);
  EXPECT_LE(error_of(cache, random_vectors({1, 2, 300, 64}, 4), {}, {.causal = true, .window = 4500}),
            kTolerance);
}

TEST(Attend, HonoursTheScaleAndTheQueriesType) {
  PackedKVCache cache = make_cache(CacheSetup{});
  cache.append(random_vectors({1, 2, 100, 64}, 1));
  const Tensor q = random_vectors({1, 4, 10, 64}, 3);
  EXPECT_LE(error_of(cache, q, {}, {}, 0.5f), kTolerance);
  EXPECT_TRUE(same_floats(cache.attend(q.to(DType::bf16)), cache.attend(q.to(DType::bf16).to(DType::f32))));
  EXPECT_EQ(cache.attend(q.to(DType::f16)).dtype(), DType::f32);
}

TEST(Attend, BitsDoNotDependOnTheThreads) {
  const CacheSetup setup{.keys = "trellis:2", .values = "turboquant_mse:4", .sinks = 4, .recent = 1200};
  const Tensor keys = random_vectors({1, 2, 6000, 64}, 1), values = random_vectors({1, 2, 6000, 64}, 2);
  for (const std::int64_t queries : {1, 20, 500}) {
    const Tensor q = random_vectors({1, 8, queries, 64}, 3);
    Tensor first;
    for (const int threads : {1, 2, 8}) {
      PackedKVCache cache = make_cache(setup, std::make_shared<ThreadPool>(threads));
      cache.append(keys, values);
      const Tensor out = cache.attend(q);
      if (!first.defined()) first = out;
      EXPECT_TRUE(same_floats(out, first)) << queries << " queries, " << threads << " threads";
    }
  }
}

TEST(Attend, RefusesWrongInput) {
  PackedKVCache cache = make_cache({.batch = 2});
  cache.append(random_vectors({2, 2, 5, 64}, 1));
  const Tensor q = random_vectors({2, 4, 3, 64}, 2);
  EXPECT_THROW(cache.attend(random_vectors({2, 3, 3, 64}, 2)), ShapeError);
  EXPECT_THROW(cache.attend(random_vectors({2, 0, 3, 64}, 2)), ShapeError);
  EXPECT_THROW(cache.attend(random_vectors({1, 4, 3, 64}, 2)), ShapeError);
  EXPECT_THROW(cache.attend(random_vectors({2, 4, 6, 64}, 2)), ShapeError);
  EXPECT_THROW(cache.attend(random_vectors({2, 4, 3, 32}, 2)), ShapeError);
  EXPECT_THROW(cache.attend(q.to(DType::f64)), DTypeError);
  EXPECT_THROW(cache.attend(q, NAN), ConfigError);
  EXPECT_THROW(cache.attend(q, 0, {.causal = true, .window = -1}), ConfigError);
  EXPECT_THROW(cache.attend(q, 0, {.causal = false, .window = 3}), ConfigError);
  EXPECT_THROW(cache.attend_ragged(q, std::vector<std::int64_t>{1}), ShapeError);
  EXPECT_THROW(cache.attend_ragged(q, {}), ShapeError);
  EXPECT_EQ(cache.attend(q.slice(2, 0, 0)).shape(), (Shape{2, 4, 0, 64}));
  Tensor bad = q.copy();
  bad.data<float>()[0] = NAN;
  EXPECT_THROW(cache.attend(bad), NumericError);
}

}  // namespace
}  // namespace veloxquant
