// Models whose keys have what wounds quantizers: channels 32 times as loud as others, and a large constant offset.
//
// Both are made from the demo model. A pair of key channels that RoPE turns together is multiplied by 32, exactly in
// any floating-point format, and the same pair of the queries divided by it, which leaves the function of the model
// as it was. And a bias is added to the keys' slowest pairs; over a window these hardly turn, so that all scores of a
// query move together. The unquantized model that methods are compared with is the changed one.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>
#include <veloxquant/eval/benchmark.hpp>
#include <veloxquant/eval/precompute.hpp>
#include <veloxquant/io/files.hpp>
#include <veloxquant/io/safetensors.hpp>
#include <veloxquant/models/tokenizer.hpp>

#include "models/fixtures.hpp"

namespace veloxquant {
namespace {

using testing::kDemoModel;
using testing::TemporaryFolder;

constexpr std::int64_t kHeadDim = 64, kWindow = 512, kSinks = 4;
constexpr std::int64_t kLoudPairs[] = {0, 5, 17, 29};
constexpr std::int64_t kSlowestPair = 31;
constexpr float kLoud = 32, kOffset = 40;  // keys have deviations of about one

std::int64_t pair_of(std::int64_t row) { return row % (kHeadDim / 2); }

Tensor with_scaled_pairs(const Tensor& weight, float factor) {
  const Tensor scaled = weight.to(DType::f32).copy();
  const std::int64_t inputs = scaled.dim(1);
  for (std::int64_t row = 0; row < scaled.dim(0); ++row) {
    if (!std::ranges::count(kLoudPairs, pair_of(row))) continue;
    float* x = scaled.data<float>() + row * inputs;
    for (std::int64_t i = 0; i < inputs; ++i) x[i] *= factor;
  }
  return scaled.to(weight.dtype());
}

struct Wounds {
  float loud = 1, offset = 0;
};

// The demo model with wounds, in `folder`. Where one projection of attention has a bias, all have.
void write_wounded_model(const Wounds& wounds, const std::filesystem::path& folder) {
  const SafetensorsFile file = SafetensorsFile::open(kDemoModel / "model.safetensors");
  NamedTensors tensors;
  for (const auto& [name, info] : file.tensors()) {
    const std::size_t end = name.find("_proj.weight");
    const std::string which = end == std::string::npos ? "" : name.substr(name.rfind('.', end) + 1, 1);
    const bool keys = which == "k", queries = which == "q";
    Tensor tensor = file.tensor(name);
    if (keys || queries) tensor = with_scaled_pairs(tensor, keys ? wounds.loud : 1 / wounds.loud);
    tensors.emplace_back(name, tensor);
    if (!keys && !queries && which != "v" && which != "o") continue;
    const Tensor bias = Tensor::zeros({info.shape[0]}, DType::f32);
    for (std::int64_t row = 0; keys && row < bias.numel(); ++row) {
      if (pair_of(row) == kSlowestPair) bias.data<float>()[row] = wounds.offset;
    }
    tensors.emplace_back(name.substr(0, end) + "_proj.bias", bias);
  }
  write_safetensors(folder / "model.safetensors", tensors);
  auto config = nlohmann::json::parse(testing::text_of(kDemoModel / "config.json"));
  config["attention_bias"] = true;
  write_file_atomically(folder / "config.json", config.dump());
}

class Robustness : public ::testing::Test {
 protected:
  struct Measured {
    std::vector<double> kl;
    double perplexity;
    std::vector<std::string> warnings;
  };

  static std::vector<TokenIds> windows(const Decoder& decoder, std::int64_t skip, std::int64_t count) {
    const Tokenizer tokenizer = Tokenizer::load(kDemoModel / "tokenizer.json");
    const TokenIds text = tokenizer.encode(testing::text_of(testing::kSource / "docs/architecture.md"));
    return cut_windows(text, decoder.config().bos, kWindow, skip, count);
  }
  static CalibrationRequest calibration(const Decoder& decoder) {
    CalibrationRequest request;
    request.windows = windows(decoder, 0, 4);
    request.sinks = kSinks;
    return request;
  }
  static Measured measure(Decoder& decoder, const std::vector<std::string>& methods,
                          ArtifactStore artifacts) {
    BenchmarkRequest request;
    const auto store = std::make_shared<const ArtifactStore>(std::move(artifacts));
    for (const std::string& method : methods)
      request.asked.push_back({MethodSpec::parse(method), MethodSpec::parse(method), store});
    request.windows = windows(decoder, 4 * kWindow, 3);
    request.sinks = kSinks;
    request.runs = 1;
    request.decode_tokens = 1;
    const BenchmarkOutcome outcome = run_benchmark(decoder, request);
    Measured measured{{}, outcome.results.front().perplexity.value(), outcome.warnings};
    for (std::size_t i = 1; i < outcome.results.size(); ++i)
      measured.kl.push_back(outcome.results[i].kl.value());
    return measured;
  }

  // The same methods on the demo model and on a wounded one, each calibrated by itself.
  template <class Calibrate>
  static std::pair<Measured, Measured> compare(const Wounds& wounds, const std::vector<std::string>& methods,
                                               const Calibrate& calibrate) {
    const TemporaryFolder folder;
    write_wounded_model(wounds, folder.path());
    const auto of = [&](const std::filesystem::path& model) {
      Decoder decoder = Decoder::load(model, {.arithmetic = Arithmetic::fp32, .threads = 2});
      return measure(decoder, methods, calibrate(decoder, calibration(decoder)));
    };
    return {of(kDemoModel), of(folder.path())};
  }
  static ArtifactStore means(Decoder& decoder, const CalibrationRequest& request) {
    return precompute_means(decoder, request);
  }
  static ArtifactStore spectral(Decoder& decoder, const CalibrationRequest& request) {
    return precompute_spectral(decoder, request, {.sensitivity = Sensitivity::none});
  }
};

// In bases of the model's own the scale of a channel is nothing; rotated codes share one step among all channels.
TEST_F(Robustness, LoudChannels) {
  const auto [plain, loud] = compare({.loud = kLoud}, {"spectral:2", "turboquant_mse:4"}, spectral);
  EXPECT_NEAR(loud.perplexity, plain.perplexity, 1e-3 * plain.perplexity) << "the function has changed";
  EXPECT_LT(loud.kl[0], 1.1 * plain.kl[0]);
  EXPECT_GT(loud.kl[1], 10 * plain.kl[1]);
  EXPECT_TRUE(plain.warnings.empty());
  ASSERT_EQ(loud.warnings.size(), 1u);
  EXPECT_TRUE(loud.warnings[0].starts_with("turboquant_mse:4 breaks this model")) << loud.warnings[0];
}

TEST_F(Robustness, SpectralTakesTheOffsetOutBeforeTheRotation) {
  const auto [plain, offset] = compare({.loud = kLoud, .offset = kOffset}, {"spectral:2"}, spectral);
  EXPECT_LT(offset.kl[0], 1.1 * plain.kl[0]);
}

TEST_F(Robustness, CentredMethodsTakeItOutAfterwards) {
  const std::vector<std::string> methods = {"turboquant_mse:4:centre=true", "affine:4:centre=true",
                                            "turboquant_mse:4"};
  const auto [plain, offset] = compare({.offset = kOffset}, methods, means);
  EXPECT_LT(offset.kl[0], 1.1 * plain.kl[0]);
  EXPECT_LT(offset.kl[1], 1.1 * plain.kl[1]);
  EXPECT_GT(offset.kl[2], 3 * plain.kl[2]) << "the offset is no wound";
}

}  // namespace
}  // namespace veloxquant
