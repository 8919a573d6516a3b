#include <gtest/gtest.h>

#include <limits>
#include <veloxquant/core/artifact_store.hpp>
#include <veloxquant/core/thread_pool.hpp>

#include "fixtures.hpp"

namespace veloxquant {
namespace {

using namespace veloxquant::testing;

// Floats in four bytes, but values above 100 are refused: a code whose range ends.
class Bounded final : public VectorQuantizer {
 public:
  explicit Bounded(const QuantizerOptions& o) : head_dim_(o.head_dim) {}
  int head_dim() const noexcept override { return head_dim_; }
  std::size_t code_bytes(int /*head*/) const noexcept override {
    return 4 * static_cast<std::size_t>(head_dim_);
  }
  std::size_t scale_bytes(int /*head*/) const noexcept override { return 0; }
  void encode_rows(const float* rows, std::size_t count, int, std::uint8_t* codes,
                   std::uint8_t*) const override {
    for (std::size_t i = 0; i < count * static_cast<std::size_t>(head_dim_); ++i) {
      if (std::abs(rows[i]) > 100)
        throw NumericError("encode", "value " + std::to_string(rows[i]) + " above 100");
    }
    std::copy_n(reinterpret_cast<const std::uint8_t*>(rows), count * code_bytes(0), codes);
  }
  void decode_rows(const std::uint8_t* codes, const std::uint8_t*, std::size_t count, int,
                   float* rows) const override {
    std::copy_n(codes, count * code_bytes(0), reinterpret_cast<std::uint8_t*>(rows));
  }
  std::size_t method_bytes() const noexcept override { return 0; }

 private:
  int head_dim_;
};
VELOXQUANT_REGISTER_QUANTIZER("bounded", Bounded);

TEST(Append, GivesBackWhatItsMethodDecodes) {
  const Tensor keys = random_vectors({3, 2, 200, 64}, 1), values = random_vectors({3, 2, 200, 64}, 2);
  for (const char* method : {"fp32", "bf16", "turboquant_mse:3", "trellis:2", "affine:4", "q8_0"}) {
    PackedKVCache cache = make_cache({.keys = method, .values = method, .batch = 3});
    cache.append(keys, values);
    const auto [k, v] = cache.state();
    EXPECT_TRUE(same_floats(k, cache.methods().keys->decode(cache.methods().keys->encode(keys)))) << method;
    EXPECT_TRUE(same_floats(v, cache.methods().values->decode(cache.methods().values->encode(values))))
        << method;
    EXPECT_EQ(cache.size(), 200);
    EXPECT_EQ(cache.coded_tokens(), 600);
    EXPECT_DOUBLE_EQ(8.0 * static_cast<double>(cache.coded_bytes()) / (600 * 2 * 64 * 2),
                     cache.methods().keys->bits_per_element());
  }
}

TEST(Append, ValuesAreTheKeysUnlessGiven) {
  PackedKVCache cache = make_cache(CacheSetup{});
  const auto [k, v] = cache.update(random_vectors({1, 2, 70, 64}, 1));
  EXPECT_TRUE(same_floats(k, v));
  EXPECT_EQ(k.shape(), (Shape{1, 2, 70, 64}));
}

TEST(Append, SinksAndWindowAreExact) {
  const Tensor keys = random_vectors({1, 2, 300, 64}, 1), values = random_vectors({1, 2, 300, 64}, 2);
  PackedKVCache cache =
      make_cache({.keys = "turboquant_mse:2", .values = "turboquant_mse:2", .sinks = 4, .recent = 10});
  append_in_pieces(cache, keys, values, 7);
  EXPECT_EQ(cache.coded_tokens(), 286);
  const auto [k, v] = cache.state();
  for (const auto& [have, want] : {std::pair{k, keys}, std::pair{v, values}}) {
    EXPECT_TRUE(same_floats(have.slice(2, 0, 4), want.slice(2, 0, 4)));
    EXPECT_TRUE(same_floats(have.slice(2, 290, 300), want.slice(2, 290, 300)));
    const auto& method = *cache.methods().keys;
    EXPECT_TRUE(same_floats(have.slice(2, 4, 290), method.decode(method.encode(want.slice(2, 4, 290)))));
  }
}

TEST(Append, BytesDoNotDependOnThePieces) {
  for (const std::int64_t recent : {0, 100}) {
    const CacheSetup setup{
        .keys = "trellis:2", .values = "turboquant_mse:3", .batch = 2, .sinks = 3, .recent = recent};
    const Tensor keys = random_vectors({2, 2, 517, 64}, 1), values = random_vectors({2, 2, 517, 64}, 2);
    PackedKVCache whole = make_cache(setup);
    whole.append(keys, values);
    const std::string bytes = bytes_of(whole);
    for (const std::int64_t piece : {1, 16, 63, 256}) {
      PackedKVCache cache = make_cache(setup);
      append_in_pieces(cache, keys, values, piece);
      EXPECT_EQ(bytes_of(cache), bytes) << piece;
      EXPECT_EQ(cache.nbytes(), whole.nbytes()) << piece;
    }
  }
}

TEST(Append, BytesDoNotDependOnTheThreads) {
  const CacheSetup setup{
      .keys = "trellis:3", .values = "affine:4", .batch = 2, .kv_heads = 3, .sinks = 1, .recent = 5};
  const Tensor keys = random_vectors({2, 3, 300, 64}, 1), values = random_vectors({2, 3, 300, 64}, 2);
  std::string first;
  for (const int threads : {1, 2, 8}) {
    PackedKVCache cache = make_cache(setup, std::make_shared<ThreadPool>(threads));
    append_in_pieces(cache, keys, values, 130);
    if (first.empty()) first = bytes_of(cache);
    EXPECT_EQ(bytes_of(cache), first) << threads;
  }
}

TEST(Append, TakesStridedAndNarrowInput) {
  // [batch, seq, heads, head_dim] memory seen as [batch, heads, seq, head_dim].
  const Tensor memory = random_vectors({1, 90, 2, 64}, 1);
  const Tensor strided = Tensor::wrap(memory.raw(), {1, 2, 90, 64}, DType::f32, {90 * 2 * 64, 64, 2 * 64, 1});
  PackedKVCache a = make_cache(CacheSetup{}), b = make_cache(CacheSetup{});
  a.append(strided);
  b.append(strided.copy());
  EXPECT_EQ(bytes_of(a), bytes_of(b));
  for (const DType dtype : {DType::f16, DType::bf16}) {
    PackedKVCache narrow = make_cache(CacheSetup{}), wide = make_cache(CacheSetup{});
    narrow.append(strided.to(dtype));
    wide.append(strided.to(dtype).to(DType::f32));
    EXPECT_EQ(narrow.state().first.dtype(), dtype);
    EXPECT_TRUE(same_floats(narrow.state().first, wide.state().first.to(dtype)));
  }
}

// A slice of tokens is read where it is; what is wrong in it is found at its own place.
TEST(Append, NamesThePlaceInASlice) {
  Tensor x = random_vectors({2, 3, 20, 64}, 1);
  x.data<float>()[((1 * 3 + 2) * 20 + 7) * 64 + 33] = NAN;
  for (const auto& [begin, end, place] :
       {std::tuple{7, 8, "[1, 2, 0, 33]"}, {5, 20, "[1, 2, 2, 33]"}, {0, 20, "[1, 2, 7, 33]"}}) {
    PackedKVCache cache = make_cache({.batch = 2, .kv_heads = 3});
    const std::string message = message_of<NumericError>([&] { cache.append(x.slice(2, begin, end)); });
    EXPECT_NE(message.find(place), std::string::npos) << message;
    cache.append(x.slice(2, 8, 20));
  }
}

TEST(Append, RaggedRowsAreAsIfAppendedAlone) {
  const CacheSetup setup{.batch = 3, .sinks = 2, .recent = 6};
  const Tensor x = random_vectors({3, 2, 100, 64}, 1), y = random_vectors({3, 2, 40, 64}, 2);
  PackedKVCache together = make_cache(setup);
  together.append_ragged(x, {}, std::vector<std::int64_t>{100, 0, 33});
  together.append_ragged(y, {}, std::vector<std::int64_t>{1, 40, 20});
  EXPECT_EQ(together.size(), 101);
  EXPECT_EQ(together.size(1), 40);
  EXPECT_EQ(together.size(2), 53);
  EXPECT_EQ(together.position(2, 52), 52);
  const Tensor state = together.state().first;
  const std::int64_t first[] = {100, 0, 33}, second[] = {1, 40, 20};
  for (int b = 0; b < 3; ++b) {
    PackedKVCache alone = make_cache({.sinks = 2, .recent = 6});
    alone.append(x.slice(0, b, b + 1).slice(2, 0, first[b]));
    alone.append(y.slice(0, b, b + 1).slice(2, 0, second[b]));
    const std::int64_t size = alone.size();
    EXPECT_TRUE(same_floats(state.slice(0, b, b + 1).slice(2, 0, size), alone.state().first));
    const Tensor padding = state.slice(0, b, b + 1).slice(2, size, 101);
    EXPECT_TRUE(same_floats(padding, Tensor::zeros(padding.shape(), DType::f32)));
  }
}

// A page that trim() has opened is in block order until new codes come.
TEST(Append, OfNothingLeavesOpenedPagesAsTheyAre) {
  const Tensor x = random_vectors({1, 2, 65, 64}, 1);
  PackedKVCache cache = make_cache({.sinks = 1}), short_one = make_cache({.sinks = 1});
  cache.append(x);
  cache.trim(1);
  cache.append_ragged(x, {}, std::vector<std::int64_t>{0});
  short_one.append(x.slice(2, 0, 64));
  EXPECT_TRUE(same_floats(cache.state().first, short_one.state().first));
  cache.append(x.slice(2, 64, 65));
  short_one.append(x.slice(2, 64, 65));
  EXPECT_TRUE(same_floats(cache.state().first, short_one.state().first));
}

// Single tokens are coded for several heads at once, each with its own mean, and shared out among threads.
TEST(Append, TokensOfManyHeadsAreAsInAChunk) {
  constexpr int kHeads = 19;
  const Tensor keys = random_vectors({1, kHeads, 66, 64}, 1), values = random_vectors({1, kHeads, 66, 64}, 2);
  const auto artifacts = std::make_shared<ArtifactStore>();
  artifacts->put("layers.0.keys.mean", random_vectors({kHeads, 64}, 7, 3));
  artifacts->put("layers.0.values.mean", random_vectors({kHeads, 64}, 8, 3));
  for (const char* method : {"turboquant_mse:3:centre=true", "trellis:2:centre=true", "affine:4:centre=true",
                             "turboquant_mse:4", "fp16"}) {
    const auto config = std::make_shared<const KVCacheConfig>(
        options_of({.keys = method, .values = method, .kv_heads = kHeads}));
    PackedKVCache chunk(config, 0, artifacts);
    chunk.append(keys, values);
    for (const int threads : {1, 2, 3}) {
      PackedKVCache single(config, 0, artifacts, std::make_shared<ThreadPool>(threads));
      for (std::int64_t t = 0; t < 66; ++t) single.append(keys.slice(2, t, t + 1), values.slice(2, t, t + 1));
      EXPECT_EQ(bytes_of(single), bytes_of(chunk)) << method << ", " << threads << " threads";
    }
  }
}

TEST(Append, KeepsPositions) {
  PackedKVCache cache = make_cache({.batch = 2});
  const Tensor x = random_vectors({2, 2, 3, 64}, 1);
  const auto positions = [](std::vector<std::int64_t> p, Shape shape) {
    return Tensor::copy_of<std::int64_t>(p, std::move(shape));
  };
  cache.append(x);
  cache.append(x, {}, positions({10, 11, 20}, {3}));
  cache.append(x, {}, positions({21, 22, 23, 30, 40, 50}, {2, 3}));
  cache.append(x);
  const std::int64_t want[2][12] = {{0, 1, 2, 10, 11, 20, 21, 22, 23, 24, 25, 26},
                                    {0, 1, 2, 10, 11, 20, 30, 40, 50, 51, 52, 53}};
  for (int b = 0; b < 2; ++b) {
    for (std::int64_t i = 0; i < 12; ++i) EXPECT_EQ(cache.position(b, i), want[b][i]);
  }
  cache.trim(4);
  EXPECT_EQ(cache.position(1, 7), 40);
  cache.append(x);
  EXPECT_EQ(cache.position(1, 8), 41);
  const std::string bytes = bytes_of(cache);
  EXPECT_THROW(cache.append(x, {}, positions({1, 2, 3}, {3})), ConfigError);
  EXPECT_THROW(cache.append(x, {}, positions({100, 101, 101}, {3})), ConfigError);
  EXPECT_THROW(cache.append(x, {}, positions({100, 101}, {2})), ShapeError);
  constexpr std::int64_t kLimit = std::int64_t{1} << 40;
  for (const std::int64_t beyond : {kLimit, INT64_MAX - 1}) {
    const std::string message =
        message_of<ConfigError>([&] { cache.append(x, {}, positions({100, 101, beyond}, {3})); });
    EXPECT_NE(message.find(std::to_string(beyond)), std::string::npos) << message;
    EXPECT_NE(message.find("below 1099511627776"), std::string::npos) << message;
  }
  EXPECT_THROW(cache.append(x, {}, positions({1, 2, 3}, {3}).to(DType::f32)), Error);
  PackedKVCache fresh = make_cache({.batch = 2});
  EXPECT_THROW(fresh.append(x, {}, positions({-1, 0, 1}, {3})), ConfigError);
  fresh.append(x, {}, positions({0, 1, kLimit - 1}, {3}));
  EXPECT_THROW(fresh.append(x), ConfigError);  // the next would be at the limit
  EXPECT_EQ(bytes_of(cache), bytes);
}

TEST(Append, FailureLeavesTheCacheAsItWas) {
  const CacheSetup setup{.keys = "bounded", .values = "fp16", .batch = 2, .sinks = 2, .recent = 8};
  for (const int threads : {1, 4}) {
    PackedKVCache cache = make_cache(setup, std::make_shared<ThreadPool>(threads));
    cache.append(random_vectors({2, 2, 100, 64}, 1));
    const std::string bytes = bytes_of(cache);
    const std::size_t held = cache.nbytes();
    const Tensor good = random_vectors({2, 2, 150, 64}, 2);
    const auto spoiled = [&](std::int64_t at, float value) {
      Tensor bad = good.copy();
      bad.data<float>()[at] = value;
      return bad;
    };
    const std::int64_t middle = ((1 * 2 + 1) * 150 + 77) * 64 + 5;
    EXPECT_NE(
        message_of<NumericError>([&] { cache.append(spoiled(middle, NAN), good); }).find("[1, 1, 77, 5]"),
        std::string::npos);
    EXPECT_THROW(cache.append(good, spoiled(middle, INFINITY)), NumericError);
    EXPECT_THROW(cache.append(spoiled(middle, 101), good), NumericError);
    EXPECT_THROW(cache.append(good, spoiled(middle, 70000)), NumericError);
    // Also when the value would stay exact for now: no later append is to fail for it.
    EXPECT_THROW(cache.append(spoiled(good.numel() - 1, 101), good), NumericError);
    EXPECT_EQ(bytes_of(cache), bytes);
    EXPECT_EQ(cache.nbytes(), held);
    PackedKVCache plain = make_cache(setup);
    plain.append(random_vectors({2, 2, 100, 64}, 1));
    plain.append(good, good);
    cache.append(good, good);
    EXPECT_EQ(bytes_of(cache), bytes_of(plain));
  }
}

TEST(Append, SinksMayHoldWhatTheCodeCannot) {
  PackedKVCache cache = make_cache({.keys = "bounded", .values = "bounded", .sinks = 1});
  Tensor x = random_vectors({1, 2, 3, 64}, 1);
  x.data<float>()[7] = 1000;
  cache.append(x);
  EXPECT_EQ(cache.state().first.data<float>()[7], 1000);
}

TEST(Append, RefusesWrongInput) {
  PackedKVCache cache = make_cache({.batch = 2});
  const Tensor x = random_vectors({2, 2, 5, 64}, 1);
  EXPECT_THROW(cache.append(Tensor()), ShapeError);
  EXPECT_THROW(cache.append(x.reshape({2, 10, 64})), ShapeError);
  EXPECT_THROW(cache.append(random_vectors({1, 2, 5, 64}, 1)), ShapeError);
  EXPECT_THROW(cache.append(random_vectors({2, 4, 5, 64}, 1)), ShapeError);
  EXPECT_THROW(cache.append(random_vectors({2, 2, 5, 32}, 1)), ShapeError);
  EXPECT_THROW(cache.append(x, random_vectors({2, 2, 4, 64}, 1)), ShapeError);
  EXPECT_THROW(cache.append(x.to(DType::f64)), DTypeError);
  EXPECT_THROW(cache.append_ragged(x, {}, std::vector<std::int64_t>{5}), ShapeError);
  EXPECT_THROW(cache.append_ragged(x, {}, std::vector<std::int64_t>{5, 6}), ShapeError);
  EXPECT_THROW(cache.append_ragged(x, {}, std::vector<std::int64_t>{5, -1}), ShapeError);
  EXPECT_THROW(cache.append_ragged(x, {}, {}), ShapeError);
  EXPECT_THROW(cache.trim(1), ConfigError);
  EXPECT_THROW(cache.trim(-1), ConfigError);
  EXPECT_THROW(cache.size(2), ShapeError);
  EXPECT_THROW(cache.position(0, 0), ShapeError);
  EXPECT_EQ(cache.size(), 0);
  cache.append(x.slice(2, 0, 0));
  EXPECT_EQ(cache.size(), 0);
  EXPECT_EQ(cache.state().first.shape(), (Shape{2, 2, 0, 64}));
}

TEST(Methods, AreSharedByLayersOfEqualSettings) {
  KVCacheOptions o = options_of(CacheSetup{});
  o.layers = 4;
  o.layer_overrides[2].keys = MethodSpec::parse("fp16");
  const auto config = std::make_shared<const KVCacheConfig>(o);
  const auto caches = make_caches(config);
  ASSERT_EQ(caches.size(), 4u);
  EXPECT_EQ(caches[0]->methods().keys, caches[3]->methods().keys);
  EXPECT_NE(caches[0]->methods().keys, caches[2]->methods().keys);
  EXPECT_EQ(caches[0]->methods().values, caches[2]->methods().values);
  EXPECT_EQ(caches[2]->methods().keys->code_bytes(0), 128u);
  EXPECT_EQ(caches[2]->layer(), 2);
  EXPECT_THROW(PackedKVCache(config, 4), ConfigError);
  EXPECT_THROW(PackedKVCache(config, 0, LayerMethods{}), ConfigError);
  EXPECT_THROW(PackedKVCache(nullptr, 0), ConfigError);
}

// The trimmed row's last page is in block order; a row that gets nothing keeps it so.
}  // namespace
}  // namespace veloxquant
