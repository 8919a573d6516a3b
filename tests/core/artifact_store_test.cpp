#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>
#include <veloxquant/core/artifact_store.hpp>
#include <veloxquant/core/config.hpp>
#include <veloxquant/core/error.hpp>
#include <veloxquant/core/version.hpp>
#include <veloxquant/io/safetensors.hpp>
#include <veloxquant/quantizers/vector_quantizer.hpp>

namespace veloxquant {
namespace {

std::filesystem::path temporary(const std::string& name) {
  return std::filesystem::path(testing::TempDir()) / ("veloxquant_artifacts_" + name);
}

ArtifactStore sample() {
  ArtifactStore store;
  const std::vector<float> means(2 * 32, 1.5f);
  store.put("layers.0.keys.mean", Tensor::copy_of(std::span<const float>(means), {2, 32}));
  store.set_fact("method", "mean");
  return store;
}

TEST(ArtifactStore, SavesAndLoads) {
  const auto file = temporary("round_trip.safetensors");
  sample().save(file);
  const ArtifactStore back = ArtifactStore::load(file);
  EXPECT_EQ(back.facts().at("method"), "mean");
  EXPECT_EQ(back.get("layers.0.keys.mean", "test").shape(), (Shape{2, 32}));
  EXPECT_EQ(back.nbytes(), 2u * 32 * 4);
  EXPECT_THROW(back.get("layers.1.keys.mean", "test"), ArtifactError);
  std::filesystem::remove(file);
}

TEST(ArtifactStore, RefusesAFlippedBit) {
  const auto file = temporary("flipped.safetensors");
  sample().save(file);
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(-3, std::ios::end);
  const int byte = stream.get();
  stream.seekp(-3, std::ios::end);
  stream.put(static_cast<char>(byte ^ 4));
  stream.close();
  EXPECT_THROW(ArtifactStore::load(file), ArtifactError);
  std::filesystem::remove(file);
}

// Files of past versions stay readable: each of tests/core/data was written by the version in its name. With
// VELOXQUANT_WRITE_GOLDEN set, one that is not there is written; an existing one is never replaced.
TEST(ArtifactStore, GoldenFileStaysReadable) {
  // Fractions of a power of two: the same floats on every machine.
  std::vector<float> means(2 * 32);
  for (std::size_t i = 0; i < means.size(); ++i) means[i] = (static_cast<float>(i) - 20.0f) / 64.0f;
  const std::vector<std::int64_t> counts = {4096, 1, -7};
  const std::filesystem::path file = VELOXQUANT_SOURCE_DIR "/tests/core/data/artifacts-0.1.0.safetensors";
  if (!std::filesystem::exists(file) && std::getenv("VELOXQUANT_WRITE_GOLDEN") != nullptr) {
    ArtifactStore store;
    store.put("layers.0.keys.mean", Tensor::copy_of(std::span<const float>(means), {2, 32}));
    store.put("layers.0.values.mean", Tensor::copy_of(std::span<const float>(means), {2, 32}).to(DType::f16));
    store.put("counts", Tensor::copy_of(std::span<const std::int64_t>(counts), {3}));
    store.set_fact("method", "mean");
    store.set_fact("text", "not ASCII: \u00e9\u4e2d");
    store.save(file);
  }
  const ArtifactStore store = ArtifactStore::load(file);
  EXPECT_EQ(store.facts(),
            (std::map<std::string, std::string>{{"method", "mean"}, {"text", "not ASCII: \u00e9\u4e2d"}}));
  ASSERT_EQ(store.tensors().size(), 3u);
  const Tensor& keys = store.get("layers.0.keys.mean", "test");
  const Tensor values = store.get("layers.0.values.mean", "test").to(DType::f32);
  ASSERT_EQ(keys.shape(), (Shape{2, 32}));
  for (std::size_t i = 0; i < means.size(); ++i) {
    EXPECT_EQ(keys.span<float>()[i], means[i]) << i;
    EXPECT_EQ(values.span<float>()[i], means[i]) << i;  // exact in f16 too
  }
  const Tensor& read = store.get("counts", "test");
  EXPECT_TRUE(std::equal(counts.begin(), counts.end(), read.span<std::int64_t>().begin()));
}

// A file without a version, as the first ones of 0.1.0 were, is read; one that is written today says who wrote it.
TEST(ArtifactStore, CarriesTheVersion) {
  const auto file = temporary("version.safetensors");
  sample().save(file);
  EXPECT_EQ(open_sealed_safetensors(file).metadata().at(kVersionKey), version());
  EXPECT_FALSE(ArtifactStore::load(file).facts().contains(kVersionKey));
  std::filesystem::remove(file);
}

// Centring takes its means from the context's artifacts, and decoding gives the mean back.
TEST(ArtifactStore, FeedsCentring) {
  auto context = std::make_shared<QuantizationContext>();
  context->layer_name = "layers.0";
  context->artifacts = std::make_shared<const ArtifactStore>(sample());
  const QuantizerOptions options{
      .bits = 2, .head_dim = 32, .centre = true, .kv_heads = 2, .context = context};
  const auto q = QuantizerFactory::create("turboquant_mse", options);
  const std::vector<float> mean(2 * 32, 1.5f);
  const Tensor x = Tensor::copy_of(std::span<const float>(mean), {1, 2, 1, 32});
  const Tensor y = q->decode(q->encode(x));
  for (const float v : y.span<float>()) EXPECT_FLOAT_EQ(v, 1.5f);  // the residual is zero and stays exact
  const QuantizerOptions elsewhere{
      .bits = 2, .head_dim = 32, .centre = true, .role = Role::values, .kv_heads = 2, .context = context};
  EXPECT_THROW(QuantizerFactory::create("turboquant_mse", elsewhere), ArtifactError);
}

}  // namespace
}  // namespace veloxquant
