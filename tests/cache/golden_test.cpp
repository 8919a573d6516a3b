// Saved caches of past versions stay readable. Each file of tests/cache/data was written by the version in
// its name; what it holds must equal what the same vectors give today. With VELOXQUANT_WRITE_GOLDEN set,
// files that are not there are written; an existing one is never replaced.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <veloxquant/cache/packed_kv_cache.hpp>

namespace veloxquant {
namespace {

constexpr int kHeadDim = 32, kHeads = 2;

// Integers over a power of two: the same floats on every machine.
Tensor vectors(std::uint32_t state) {
  Tensor x = Tensor::empty({1, kHeads, 70, kHeadDim}, DType::f32);
  for (float& v : x.span<float>()) {
    state = state * 1664525u + 1013904223u;
    v = (static_cast<float>(state >> 20) - 2048.0f) / 1024.0f;
  }
  return x;
}

class Golden : public testing::TestWithParam<const char*> {};

TEST_P(Golden, StaysReadable) {
  const std::string method = GetParam();
  KVCacheOptions options;
  options.kv_heads = kHeads;
  options.head_dim = kHeadDim;
  options.keys = options.values = MethodSpec::parse(method);
  options.sinks = 2;
  options.recent = 3;
  options.rope = RopeConfig{.theta = 10000, .rotary_dim = kHeadDim};
  const auto config = std::make_shared<const KVCacheConfig>(options);
  PackedKVCache fresh(config, 0);
  fresh.append(vectors(1), vectors(2));

  std::string name = "cache-0.1.0-" + method;
  for (char& c : name) c = c == ':' || c == '=' ? '-' : c;
  const auto file =
      std::filesystem::path(VELOXQUANT_SOURCE_DIR "/tests/cache/data") / (name + ".safetensors");
  if (!std::filesystem::exists(file) && std::getenv("VELOXQUANT_WRITE_GOLDEN") != nullptr) fresh.save(file);

  PackedKVCache loaded(config, 0);
  loaded.load(file);
  ASSERT_EQ(loaded.size(), fresh.size());
  EXPECT_EQ(loaded.position(0, 69), 69);
  const auto [keys, values] = loaded.state();
  const auto [fresh_keys, fresh_values] = fresh.state();
  for (std::int64_t i = 0; i < keys.numel(); ++i) {
    ASSERT_EQ(keys.data<float>()[i], fresh_keys.data<float>()[i]) << i;
    ASSERT_EQ(values.data<float>()[i], fresh_values.data<float>()[i]) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, Golden,
                         testing::Values("turboquant_mse:3", "trellis:2", "rabitq:3",
                                         "q4_0:4:transform=hadamard", "affine:4:group=32", "fp8:8"),
                         [](const auto& param) {
                           std::string name = param.param;
                           return name.substr(0, name.find(':'));
                         });

}  // namespace
}  // namespace veloxquant
