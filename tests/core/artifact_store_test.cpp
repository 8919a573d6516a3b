#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <vector>
#include <veloxquant/core/artifact_store.hpp>
#include <veloxquant/core/config.hpp>
#include <veloxquant/core/error.hpp>
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

// Centring takes its means from the context's artifacts, and decoding gives the mean back.
TEST(ArtifactStore, FeedsCentring) {
  auto context = std::make_shared<QuantizationContext>();
  context->layer_name = "layers.0";
  context->artifacts = std::make_shared<const ArtifactStore>(sample());
  const QuantizerOptions options{.bits = 2, .head_dim = 32, .centre = true, .kv_heads = 2, .context = context};
  const auto q = QuantizerFactory::create("turboquant_mse", options);
  const std::vector<float> mean(2 * 32, 1.5f);
  const Tensor x = Tensor::copy_of(std::span<const float>(mean), {1, 2, 1, 32});
  const Tensor y = q->decode(q->encode(x));
  for (const float v : y.span<float>()) EXPECT_FLOAT_EQ(v, 1.5f);  // the residual is zero and stays exact
  const QuantizerOptions elsewhere{.bits = 2, .head_dim = 32, .centre = true, .role = Role::values, .kv_heads = 2, .context = context};
  EXPECT_THROW(QuantizerFactory::create("turboquant_mse", elsewhere), ArtifactError);
}

}  // namespace
}  // namespace veloxquant
