// Saved caches and artifacts of past versions stay readable. Each file of tests/cache/data was written by the
// version in its name; what it holds must equal what the same vectors give today. With VELOXQUANT_WRITE_GOLDEN
// set, files that are not there are written; an existing one is never replaced.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <veloxquant/cache/packed_kv_cache.hpp>
#include <veloxquant/core/artifact_store.hpp>

#include "calibration/spectral_artifact.hpp"

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

KVCacheOptions options_for(const std::string& method) {
  KVCacheOptions options;
  options.kv_heads = kHeads;
  options.head_dim = kHeadDim;
  options.keys = options.values = MethodSpec::parse(method);
  options.sinks = 2;
  options.recent = 3;
  options.rope = RopeConfig{.theta = 10000, .rotary_dim = kHeadDim};
  return options;
}

// The golden file for `name`, written by `write` where it is not there and may be.
template <class Write>
std::filesystem::path golden(std::string name, const Write& write) {
  for (char& c : name) c = c == ':' || c == '=' ? '-' : c;
  const auto file =
      std::filesystem::path(VELOXQUANT_SOURCE_DIR "/tests/cache/data") / (name + ".safetensors");
  if (!std::filesystem::exists(file) && std::getenv("VELOXQUANT_WRITE_GOLDEN") != nullptr) write(file);
  return file;
}

// What the golden file of a cache holds, and what the same vectors give now, differ by no more than `tolerance`.
void expect_readable(const std::string& method, PackedKVCache loaded, PackedKVCache fresh, float tolerance) {
  fresh.append(vectors(1), vectors(2));
  loaded.load(golden("cache-0.1.0-" + method, [&](const auto& file) { fresh.save(file); }));
  ASSERT_EQ(loaded.size(), fresh.size());
  EXPECT_EQ(loaded.position(0, 69), 69);
  const auto [keys, values] = loaded.state();
  const auto [fresh_keys, fresh_values] = fresh.state();
  for (std::int64_t i = 0; i < keys.numel(); ++i) {
    ASSERT_NEAR(keys.data<float>()[i], fresh_keys.data<float>()[i], tolerance) << i;
    ASSERT_NEAR(values.data<float>()[i], fresh_values.data<float>()[i], tolerance) << i;
  }
}

class Golden : public testing::TestWithParam<const char*> {};

TEST_P(Golden, StaysReadable) {
  const auto config = std::make_shared<const KVCacheConfig>(options_for(GetParam()));
  expect_readable(GetParam(), PackedKVCache(config, 0), PackedKVCache(config, 0), 0);
}

// Channels in reverse order as the basis, means of one half, and variances that ask for several widths.
ArtifactStore spectral_artifacts(const KVCacheOptions& o) {
  ArtifactStore store;
  write_settings(
      {.model = "golden", .layers = 1, .kv_heads = kHeads, .head_dim = kHeadDim, .rope = to_string(*o.rope)},
      store);
  for (const Role role : {Role::keys, Role::values}) {
    const Tensor mean = Tensor::empty({kHeads, kHeadDim}, DType::f32),
                 lambda = Tensor::empty({kHeads, kHeadDim}, DType::f32),
                 basis = Tensor::zeros({kHeads, kHeadDim, kHeadDim}, DType::f32),
                 weight = Tensor::empty({kHeads}, DType::f32);
    for (int h = 0; h < kHeads; ++h) {
      weight.data<float>()[h] = 1;
      for (int c = 0; c < kHeadDim; ++c) {
        mean.data<float>()[h * kHeadDim + c] = 0.5f;
        lambda.data<float>()[h * kHeadDim + c] = static_cast<float>(1 << (2 * (3 - c / 8)));
        basis.data<float>()[(h * kHeadDim + c) * kHeadDim + kHeadDim - 1 - c] = 1;
      }
    }
    for (const auto& [what, tensor] : {std::pair{"mean", mean},
                                       {"lambda", lambda},
                                       {"basis", basis},
                                       {"inverse", basis},
                                       {"weight", weight}})
      store.put(spectral_tensor(0, role, what), tensor);
  }
  return store;
}

// The order of floating-point sums in its transform is that of the CPU level.
TEST(GoldenCalibrated, SpectralStaysReadable) {
  KVCacheOptions options = options_for("spectral:2");
  const auto file =
      golden("artifacts-0.1.0-spectral", [&](const auto& path) { spectral_artifacts(options).save(path); });
  const auto store = std::make_shared<const ArtifactStore>(ArtifactStore::load(file));
  options.model = store->facts().at("model");
  const auto config = std::make_shared<const KVCacheConfig>(options);
  expect_readable("spectral:2", PackedKVCache(config, 0, store), PackedKVCache(config, 0, store), 1e-5f);
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
