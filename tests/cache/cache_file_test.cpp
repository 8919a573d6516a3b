#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <veloxquant/core/artifact_store.hpp>
#include <veloxquant/io/safetensors.hpp>

#include "cache/page_pool.hpp"
#include "fixtures.hpp"

namespace veloxquant {
namespace {

using namespace veloxquant::testing;

const CacheSetup kSetup{
    .keys = "turboquant_mse:3", .values = "affine:4", .batch = 2, .sinks = 2, .recent = 5};

PackedKVCache filled(const KVCacheOptions& options) {
  PackedKVCache cache = cache_with(options);
  const Shape shape{options.batch, options.kv_heads, 150, options.head_dim};
  cache.append_ragged(random_vectors(shape, 1), random_vectors(shape, 2), std::vector<std::int64_t>{150, 70});
  return cache;
}

TEST(CacheFile, RoundTrips) {
  for (const char* method :
       {"turboquant_mse:4", "trellis:2", "fp16", "fp32", "q4_0", "affine:2", "cache_test_halves"}) {
    for (const std::int64_t size : {0, 1, 3, 64, 200}) {
      const CacheSetup setup{.keys = method, .values = method, .batch = 2, .sinks = 2, .recent = 5};
      PackedKVCache cache = make_cache(setup);
      cache.append(random_vectors({2, 2, size, 64}, 1).to(DType::bf16));
      cache.append(random_vectors({2, 2, 9, 64}, 1));
      cache.trim(8);
      const TemporaryFile file;
      cache.save(file.path());
      PackedKVCache loaded = make_cache(setup);
      loaded.append(random_vectors({2, 2, 30, 64}, 5));
      loaded.load(file.path());
      EXPECT_EQ(bytes_of(loaded), file.bytes());
      EXPECT_TRUE(same_floats(loaded.state().first, cache.state().first));
      EXPECT_EQ(loaded.state().first.dtype(), DType::bf16);
      EXPECT_EQ(loaded.coded_tokens(), cache.coded_tokens());
      const Tensor more = random_vectors({2, 2, 20, 64}, 6);
      cache.append(more);
      loaded.append(more);
      EXPECT_EQ(bytes_of(loaded), bytes_of(cache));
      EXPECT_TRUE(same_floats(loaded.attend(more), cache.attend(more)));
    }
  }
}

TEST(CacheFile, HoldsCodesInCanonicalOrder) {
  PackedKVCache cache = make_cache({.keys = "q8_0", .values = "q8_0"});
  const Tensor x = random_vectors({1, 2, 100, 64}, 1);
  cache.append(x);
  const TemporaryFile path;
  cache.save(path.path());
  const SafetensorsFile file = open_sealed_safetensors(path.path());
  const EncodedVector want = cache.methods().keys->encode(x);
  const Tensor codes = file.tensor("rows.0.k_codes");
  EXPECT_EQ(codes.shape(), (Shape{2, 100, 64}));
  EXPECT_EQ(std::memcmp(codes.raw(), want.indices.raw(), codes.nbytes()), 0);
  EXPECT_EQ(std::memcmp(file.tensor("rows.0.v_scales").raw(), want.scale->raw(), want.scale->nbytes()), 0);
  EXPECT_EQ(file.metadata().at("keys"), "q8_0:8");
  EXPECT_EQ(file.metadata().at("veloxquant.schema"), "veloxquant.cache/1");
}

TEST(CacheFile, OtherSettingsAreRefusedByName) {
  KVCacheOptions options = options_of(kSetup);
  options.rope = RopeConfig{.theta = 10000, .rotary_dim = 64};
  options.model = "one";
  options.layers = 2;
  const TemporaryFile file;
  filled(options).save(file.path());
  const std::vector<std::pair<std::string, std::function<void(KVCacheOptions&)>>> changes = {
      {"keys.method is 'turboquant_mse' there and 'trellis' here",
       [](auto& o) { o.keys.method = "trellis"; }},
      {"keys.bits is '3' there and '4' here", [](auto& o) { o.keys.options.bits = 4; }},
      {"keys.scale is 'unbiased' there and 'one' here",
       [](auto& o) { o.keys.options.scale = ScaleMode::one; }},
      {"keys.transform is 'the method's own' there and 'haar' here",
       [](auto& o) { o.keys.options.transform = "haar"; }},
      {"keys.seed is '0' there and '1' here", [](auto& o) { o.keys.options.seed = 1; }},
      {"values.group is '0' there and '32' here", [](auto& o) { o.values.options.group = 32; }},
      {"sinks is '2' there and '3' here", [](auto& o) { o.sinks = 3; }},
      {"recent is '5' there and '6' here", [](auto& o) { o.recent = 6; }},
      {"model is 'one' there and 'two' here", [](auto& o) { o.model = "two"; }},
      {"batch is '2' there and '3' here", [](auto& o) { o.batch = 3; }},
      {"kv_heads is '2' there and '4' here", [](auto& o) { o.kv_heads = 4; }},
      {"head_dim is '64' there and '128' here", [](auto& o) { o.head_dim = 128; }},
      {"rope is 'given' there and 'not given' here", [](auto& o) { o.rope.reset(); }},
      {"rope.theta is '10000' there and '500000' here", [](auto& o) { o.rope->theta = 500000; }},
      {"rope.pairing is 'half_split' there and 'interleaved' here",
       [](auto& o) { o.rope->pairing = RopeConfig::Pairing::interleaved; }},
  };
  for (const auto& [words, change] : changes) {
    KVCacheOptions other = options;
    change(other);
    PackedKVCache cache = cache_with(other);
    cache.append(random_vectors({other.batch, other.kv_heads, 10, other.head_dim}, 9));
    const std::string before = bytes_of(cache);
    const std::string message = message_of<ArtifactError>([&] { cache.load(file.path()); });
    EXPECT_NE(message.find(words), std::string::npos) << words << "\n" << message;
    EXPECT_EQ(bytes_of(cache), before);
  }
  PackedKVCache second_layer(std::make_shared<const KVCacheConfig>(options), 1);
  EXPECT_NE(message_of<ArtifactError>([&] {
              second_layer.load(file.path());
            }).find("layer is '0' there and '1' here"),
            std::string::npos);
  // What other layers do is of no importance.
  KVCacheOptions more = options;
  more.layers = 3;
  more.layer_overrides[1].keys = MethodSpec::parse("fp16");
  PackedKVCache cache = cache_with(more);
  cache.load(file.path());
  EXPECT_EQ(cache.size(), 150);
}

TEST(CacheFile, OtherArtifactsAreRefused) {
  const auto config = std::make_shared<const KVCacheConfig>(options_of({.keys = "trellis:2:centre=true"}));
  const auto artifacts = [](unsigned seed) {
    auto store = std::make_shared<ArtifactStore>();
    store->put("layers.0.keys.mean", random_vectors({2, 64}, seed));
    return store;
  };
  PackedKVCache cache(config, 0, artifacts(1)), same(config, 0, artifacts(1)), other(config, 0, artifacts(2));
  cache.append(random_vectors({1, 2, 10, 64}, 1));
  const TemporaryFile file;
  cache.save(file.path());
  same.load(file.path());
  EXPECT_EQ(same.size(), 10);
  EXPECT_NE(message_of<ArtifactError>([&] { other.load(file.path()); }).find("artifacts"), std::string::npos);
  EXPECT_EQ(other.size(), 0);
}

// A well-sealed file with something changed in it.
void expect_refused(const PackedKVCache& cache,
                    const std::function<void(NamedTensors&, std::map<std::string, std::string>&)>& change,
                    const std::string& words) {
  const TemporaryFile path;
  cache.save(path.path());
  NamedTensors tensors;
  std::map<std::string, std::string> metadata;
  {
    const SafetensorsFile file = open_sealed_safetensors(path.path());
    metadata = file.metadata();
    for (const auto& [name, info] : file.tensors()) tensors.emplace_back(name, file.tensor(name).copy());
  }
  change(tensors, metadata);
  write_sealed_safetensors(path.path(), tensors, metadata);
  PackedKVCache target = make_cache(kSetup);
  target.append(random_vectors({2, 2, 10, 64}, 9));
  const std::string before = bytes_of(target);
  const std::size_t held = held_bytes();
  const std::string message = message_of<ArtifactError>([&] { target.load(path.path()); });
  EXPECT_NE(message.find(words), std::string::npos) << words << "\n" << message;
  EXPECT_EQ(bytes_of(target), before);
  EXPECT_EQ(held_bytes(), held);
}

TEST(CacheFile, InconsistentContentIsRefused) {
  const PackedKVCache cache = filled(options_of(kSetup));
  const auto tensor = [](NamedTensors& tensors, const std::string& name) -> Tensor& {
    return std::find_if(tensors.begin(), tensors.end(), [&](const auto& t) { return t.first == name; })
        ->second;
  };
  const auto drop = [](const std::string& name) {
    return [name](NamedTensors& tensors, auto&) {
      std::erase_if(tensors, [&](const auto& t) { return t.first == name; });
    };
  };
  expect_refused(cache, drop("rows.1.k_codes"), "no tensor 'rows.1.k_codes'");
  expect_refused(cache, drop("rows.0.v_exact"), "no tensor 'rows.0.v_exact'");
  expect_refused(cache, drop("rows.0.k_check"), "no tensor 'rows.0.k_check'");
  expect_refused(cache, drop("rows.0.positions"), "row 0 has 7 exact tokens of 0");
  expect_refused(cache, drop("rows.0.k_exact"), "row 0 has 0 exact tokens of 150");
  expect_refused(
      cache, [](NamedTensors& t, auto&) { t.emplace_back("rows.2.k_codes", Tensor::zeros({1}, DType::u8)); },
      "'rows.2.k_codes' does not belong there");
  expect_refused(
      cache,
      [&](NamedTensors& t, auto&) { tensor(t, "rows.0.positions").template data<std::int64_t>()[7] = 3; },
      "position 3 of token 7 in row 0");
  for (const std::int64_t position : {std::int64_t{1} << 40, INT64_MAX - 1, INT64_MIN}) {
    expect_refused(
        cache,
        [&](NamedTensors& t, auto&) {
          tensor(t, "rows.0.positions").template data<std::int64_t>()[149] = position;
        },
        fmt::format("position {} of token 149 in row 0; positions are from 0 to below 1099511627776",
                    position));
  }
  expect_refused(
      cache, [&](NamedTensors& t, auto&) { tensor(t, "rows.1.v_exact").template data<float>()[0] = NAN; },
      "not finite");
  expect_refused(
      cache, [&](NamedTensors& t, auto&) { tensor(t, "rows.1.v_check").template data<float>()[0] += 1; },
      "artifacts or tables");
  for (const float anything : {INFINITY, -INFINITY, NAN}) {
    expect_refused(
        cache,
        [&](NamedTensors& t, auto&) { tensor(t, "rows.1.k_check").template data<float>()[65] = anything; },
        fmt::format("tensor 'rows.1.k_check' holds {} (head 1, coordinate 1)", anything));
  }
  expect_refused(
      cache,
      [&](NamedTensors& t, auto&) { tensor(t, "rows.1.v_scales") = Tensor::zeros({2, 68, 2}, DType::u8); },
      "tensor 'rows.1.v_scales' is u8 [2, 68, 2], needs u8 [2, 68, 4]");
  expect_refused(
      cache, [](auto&, auto& m) { m["config"] = std::string(100'000, '[') + std::string(100'000, ']'); },
      "nests deeper");
  expect_refused(cache, [](auto&, auto& m) { m.erase("config"); }, "no 'config' in the metadata");
  expect_refused(cache, [](auto&, auto& m) { m["config"] = "{"; }, "its config is not served");
  expect_refused(cache, [](auto&, auto& m) { m["layer"] = "x"; }, "layer 'x'");
  expect_refused(cache, [](auto&, auto& m) { m["layer"] = "70000"; }, "layer is '70000' there");
  expect_refused(cache, [](auto&, auto& m) { m["dtype.keys"] = "i8"; }, "dtype.keys is 'i8'");
  expect_refused(
      cache, [](auto&, auto& m) { m["veloxquant.schema"] = "veloxquant.cache/2"; },
      "schema is 'veloxquant.cache/2'");
}

// What no encoder writes is refused where it is read, before it can spread through attention.
TEST(CacheFile, CodesThatStandForNoNumberAreRefused) {
  struct Case {
    const char* method;
    const char* tensor;
    std::size_t byte;  // of token 50 of head 1
    std::vector<std::uint8_t> bytes;
    const char* words;
  };
  for (const Case& c : std::vector<Case>{
           {"turboquant_mse:4",
            "rows.0.k_scales",
            0,
            {0x00, 0x7e},
            "no finite scale at head 1, coded token 50"},
           {"trellis:2", "rows.0.v_scales", 0, {0x00, 0xfc}, "no finite scale at head 1, coded token 50"},
           {"affine:4", "rows.0.v_scales", 2, {0x00, 0x7c}, "coded token 50, byte 2"},
           {"fp32",
            "rows.0.k_codes",
            12,
            {0, 0, 0xc0, 0x7f},
            "no finite value at head 1, coded token 50, byte 12"},
           {"fp16", "rows.0.v_codes", 126, {0x00, 0x7c}, "no finite value at head 1"},
           {"bf16", "rows.0.v_codes", 0, {0x80, 0xff}, "no finite value at head 1"},
           {"fp8", "rows.0.k_codes", 63, {0xff}, "no finite value at head 1"}}) {
    PackedKVCache cache = make_cache({.keys = c.method, .values = c.method});
    cache.append(random_vectors({1, 2, 150, 64}, 1));
    const TemporaryFile path;
    cache.save(path.path());
    NamedTensors tensors;
    std::map<std::string, std::string> metadata;
    {
      const SafetensorsFile file = open_sealed_safetensors(path.path());
      metadata = file.metadata();
      for (const auto& [name, info] : file.tensors()) {
        Tensor tensor = file.tensor(name).copy();
        const auto vector = static_cast<std::size_t>(tensor.shape().back()) * size_of(tensor.dtype());
        if (name == c.tensor) {
          std::memcpy(static_cast<std::uint8_t*>(tensor.raw()) + (150 + 50) * vector + c.byte, c.bytes.data(),
                      c.bytes.size());
        }
        tensors.emplace_back(name, tensor);
      }
    }
    write_sealed_safetensors(path.path(), tensors, metadata);
    const std::string message = message_of<ArtifactError>([&] { cache.load(path.path()); });
    EXPECT_NE(message.find(c.words), std::string::npos) << c.method << "\n" << message;
  }
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define VELOXQUANT_SANITIZED
#endif
#endif
#ifndef VELOXQUANT_SANITIZED
// Positions alone can claim any number of tokens. Here their pages would take 4 GB, with 1 GB of address
// space.
TEST(CacheFile, TakesNoMemoryForCodesThatAreNotThere) {
  const auto claim = [] {
    const CacheSetup setup{.keys = "fp32", .values = "fp32", .kv_heads = 16, .head_dim = 512};
    PackedKVCache cache = make_cache(setup);
    cache.append(random_vectors({1, 16, 1, 512}, 1));
    const TemporaryFile path;
    cache.save(path.path());
    std::map<std::string, std::string> metadata = open_sealed_safetensors(path.path()).metadata();
    Tensor positions = Tensor::empty({60'000}, DType::i64);
    for (std::int64_t i = 0; i < positions.numel(); ++i) positions.data<std::int64_t>()[i] = i;
    write_sealed_safetensors(path.path(), {{"rows.0.positions", positions}}, metadata);
    const rlimit limit{1 << 30, 1 << 30};
    setrlimit(RLIMIT_AS, &limit);
    const std::string message = message_of<ArtifactError>([&] { cache.load(path.path()); });
    std::exit(message.find("no tensor 'rows.0.k_codes'") == std::string::npos ? 1 : 0);
  };
  EXPECT_EXIT(claim(), ::testing::ExitedWithCode(0), "");
}
#endif

TEST(CacheFile, DamageIsRefused) {
  PackedKVCache cache = make_cache({.keys = "q8_0", .values = "q8_0", .kv_heads = 1, .head_dim = 32});
  cache.append(random_vectors({1, 1, 2, 32}, 1));
  const std::string bytes = bytes_of(cache), before = bytes;
  const TemporaryFile file;
  const auto expect_error = [&](const std::string& content) {
    std::ofstream(file.path(), std::ios::binary) << content;
    EXPECT_THROW(cache.load(file.path()), Error);
  };
  for (std::size_t size = 0; size < bytes.size(); size += 7) expect_error(bytes.substr(0, size));
  for (std::size_t at = 0; at < bytes.size(); at += 11) {
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 4);
    expect_error(flipped);
  }
  EXPECT_EQ(bytes_of(cache), before);
  EXPECT_THROW(cache.load("/nonexistent/file"), IoError);
  EXPECT_THROW(cache.save("/nonexistent/file"), IoError);
}

}  // namespace
}  // namespace veloxquant
