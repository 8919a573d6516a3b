// Calibration of `spectral` on the demo model, with little text.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/activation_file.hpp>
#include <veloxquant/eval/benchmark.hpp>
#include <veloxquant/eval/precompute.hpp>
#include <veloxquant/io/files.hpp>
#include <veloxquant/io/safetensors.hpp>
#include <veloxquant/models/tokenizer.hpp>

#include "models/fixtures.hpp"
#include "transform/rope_turn.hpp"

namespace veloxquant {
namespace {

using testing::kDemoModel;
using testing::TemporaryFolder;

CalibrationRequest request_for(const Decoder& decoder, std::int64_t seq_len, std::int64_t windows) {
  const Tokenizer tokenizer = Tokenizer::load(kDemoModel / "tokenizer.json");
  const TokenIds text = tokenizer.encode(read_file(testing::kSource / "docs/architecture.md", 1 << 24));
  CalibrationRequest request;
  request.windows = cut_windows(text, decoder.config().bos, seq_len, 0, windows);
  return request;
}

std::string saved(const ArtifactStore& store, const std::filesystem::path& file) {
  store.save(file);
  return read_file(file, 1 << 26);
}

// Cut short before any of its steps and begun again, a calibration ends in the same bytes, and does not
// repeat what was done.
TEST(Precompute, GoesOnWhereItWasCutShort) {
  const TemporaryFolder folder;
  Decoder decoder = Decoder::load(kDemoModel, {.arithmetic = Arithmetic::fp32});
  CalibrationRequest request = request_for(decoder, 96, 3);
  const SpectralOptions plain{.sensitivity_windows = 2};
  std::size_t steps = 0;
  request.progress = [&](const std::string&, const std::string&, std::size_t, std::size_t total) {
    steps = total;
  };
  const std::string wanted = saved(precompute_spectral(decoder, request, plain), folder.path() / "whole");

  struct Killed {};
  for (std::size_t cut = 0; cut < steps; cut += cut < 4 ? 2 : 13) {
    SpectralOptions options = plain;
    options.checkpoints = folder.path() / std::to_string(cut);
    std::filesystem::create_directory(options.checkpoints);
    request.progress = [&](const std::string&, const std::string&, std::size_t done, std::size_t) {
      if (done == cut) throw Killed();
    };
    EXPECT_THROW(precompute_spectral(decoder, request, options), Killed) << cut;
    std::vector<std::string> stages;
    request.progress = [&](const std::string& stage, const std::string&, std::size_t, std::size_t) {
      stages.push_back(stage);
    };
    EXPECT_EQ(saved(precompute_spectral(decoder, request, options), folder.path() / "again"), wanted) << cut;
    EXPECT_EQ(static_cast<std::size_t>(std::ranges::count(stages, "statistics")),
              3 - std::min<std::size_t>(cut, 3))
        << cut;
    const std::size_t before_probes = 3 + 6;
    EXPECT_EQ(static_cast<std::size_t>(std::ranges::count(stages, "sensitivity")),
              48 - (cut > before_probes ? cut - before_probes : 0))
        << cut;
  }
}

// What another request has left, and what is damaged, is not gone on from.
TEST(Precompute, GoesOnFromItsOwnCheckpointsOnly) {
  const TemporaryFolder folder;
  Decoder decoder = Decoder::load(kDemoModel, {.arithmetic = Arithmetic::fp32});
  CalibrationRequest request = request_for(decoder, 96, 1);
  SpectralOptions options{.frame = 16, .sensitivity = Sensitivity::none};
  const std::string wanted = saved(precompute_spectral(decoder, request, options), folder.path() / "whole");
  options.checkpoints = folder.path();
  options.frame = 64;
  precompute_spectral(decoder, request, options);
  ASSERT_TRUE(std::filesystem::exists(folder.path() / "statistics.safetensors"));
  options.frame = 16;
  EXPECT_EQ(saved(precompute_spectral(decoder, request, options), folder.path() / "again"), wanted);

  std::string bytes = read_file(folder.path() / "statistics.safetensors", 1 << 26);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write_file_atomically(folder.path() / "statistics.safetensors", bytes);
  EXPECT_EQ(saved(precompute_spectral(decoder, request, options), folder.path() / "again"), wanted);
}

TEST(Precompute, NeedsWhatItSays) {
  Decoder decoder = Decoder::load(kDemoModel, {.arithmetic = Arithmetic::fp32});
  const CalibrationRequest request = request_for(decoder, 96, 3);
  SpectralOptions options{.sensitivity = Sensitivity::none};
  const ArtifactStore store = precompute_spectral(decoder, request, options);
  CalibrationNeeds needs = spectral_needs(decoder.config(), request, options);
  EXPECT_DOUBLE_EQ(needs.passes, 3);
  EXPECT_NEAR(static_cast<double>(needs.artifact_bytes), static_cast<double>(store.nbytes()), 8192);
  EXPECT_GT(needs.memory_bytes, needs.artifact_bytes);
  options.sensitivity = Sensitivity::measured;
  needs = spectral_needs(decoder.config(), request, options);
  // Six layers of four groups each, twice: whole passes and those from layer 0, 1, ... on.
  EXPECT_DOUBLE_EQ(needs.passes, 3 + 2 * (1 + 4 * (6 + 5 + 4 + 3 + 2 + 1) / 6.0));
}

// What the model computes on the request's windows, as tools/export_activations.py writes it.
void write_activations(Decoder& decoder, const CalibrationRequest& request, const std::filesystem::path& file,
                       bool outputs) {
  const RopeTurn turn(decoder.rope(), decoder.config().head_dim);
  NamedTensors tensors;
  const auto before_rope = [&](const Tensor& turned) {
    Tensor rows = turned.copy();
    const std::int64_t heads = rows.dim(1), tokens = rows.dim(2), dim = rows.dim(3);
    for (std::int64_t i = 0; i < heads * tokens; ++i) {
      float* row = rows.data<float>() + i * dim;
      turn.back(turn.angles(i % tokens), row, row);
    }
    return rows.reshape({heads, tokens, dim});
  };
  for (std::size_t w = 0; w < request.windows.size(); ++w) {
    const LayerObserver observer = [&](int layer, const LayerActivations& a) {
      const std::string prefix = "windows." + std::to_string(w) + ".layers." + std::to_string(layer) + ".";
      tensors.emplace_back(prefix + "queries", before_rope(a.queries));
      tensors.emplace_back(prefix + "keys", before_rope(a.keys));
      tensors.emplace_back(prefix + "values",
                           a.values.copy().reshape({a.values.dim(1), a.values.dim(2), a.values.dim(3)}));
      const Tensor squares = Tensor::zeros({a.input.dim(0)}, DType::f32);
      for (std::int64_t i = 0; i < a.input.numel(); ++i) {
        const float x = a.input.data<const float>()[i];
        squares.data<float>()[i / a.input.dim(1)] += x * x / static_cast<float>(a.input.dim(1));
      }
      tensors.emplace_back(prefix + "input", squares);
    };
    KVCacheOptions options = decoder.cache_options();
    options.keys = options.values = MethodSpec::parse("fp32");
    const auto caches = make_caches(std::make_shared<const KVCacheConfig>(options), {}, decoder.pool());
    decoder.forward_hidden(request.windows[w], caches, {.first_row = kNoRows, .observer = observer});
  }
  for (int layer = 0; outputs && layer < decoder.config().layers; ++layer)
    tensors.emplace_back("layers." + std::to_string(layer) + ".output", decoder.output_projection(layer));
  write_safetensors(file, tensors,
                    {{"veloxquant.schema", "veloxquant.activations/1"},
                     {"config", read_file(kDemoModel / "config.json", 1 << 20)},
                     {"model", decoder.fingerprint()}});
}

// The same artifacts, up to the rounding of turning keys back and forth.
TEST(Precompute, ActivationsServeInPlaceOfTheModel) {
  const TemporaryFolder folder;
  Decoder decoder = Decoder::load(kDemoModel, {.arithmetic = Arithmetic::fp32});
  CalibrationRequest request = request_for(decoder, 300, 2);
  const SpectralOptions options{.sensitivity = Sensitivity::proxy};
  write_activations(decoder, request, folder.path() / "with.safetensors", true);
  const ArtifactStore wanted = precompute_spectral(decoder, request, options);
  const ActivationFile file = ActivationFile::open(folder.path() / "with.safetensors");
  const ArtifactStore found = precompute_spectral(file, request, options);
  EXPECT_EQ(found.facts(), wanted.facts());
  for (const auto& [name, tensor] : wanted.tensors()) {
    const bool spectrum = name.ends_with("lambda"), mean = name.ends_with("mean"),
               weight = name.ends_with("weight");
    if (!spectrum && !mean && !weight) continue;  // bases are free in sign
    const std::span<const float> want = tensor.span<const float>(),
                                 have = found.get(name, "test").span<const float>();
    ASSERT_EQ(want.size(), have.size());
    float largest = 0;
    for (const float x : want) largest = std::max(largest, std::abs(x));
    for (std::size_t i = 0; i < want.size(); ++i)
      EXPECT_NEAR(have[i], want[i], 2e-3f * largest) << name << " " << i;
  }

  // What the file does not hold is refused, and what does without it is served.
  EXPECT_THROW(precompute_spectral(file, request, SpectralOptions{}), ConfigError);
  write_activations(decoder, request, folder.path() / "without.safetensors", false);
  const ActivationFile bare = ActivationFile::open(folder.path() / "without.safetensors");
  EXPECT_THROW(precompute_spectral(bare, request, options), ConfigError);
  EXPECT_NO_THROW(precompute_spectral(
      bare, request, SpectralOptions{.metric = KeyMetric::query, .sensitivity = Sensitivity::none}));
}

TEST(Precompute, RefusesOtherActivationFiles) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "a.safetensors";
  const std::string config = read_file(kDemoModel / "config.json", 1 << 20);
  const Tensor keys = Tensor::zeros({2, 9, 64}, DType::f32);
  const auto refused = [&](const NamedTensors& tensors, const Metadata& metadata) {
    write_safetensors(path, tensors, metadata);
    EXPECT_THROW(ActivationFile::open(path), Error);
  };
  const Metadata good = {{"veloxquant.schema", "veloxquant.activations/1"}, {"config", config}};
  refused({{"windows.0.layers.0.keys", keys}}, {});
  refused({{"windows.0.layers.0.keys", keys}}, {{"veloxquant.schema", "veloxquant.activations/1"}});
  refused({}, good);
  refused({{"windows.0.layers.0.keys", keys}}, good);                                        // no queries
  refused({{"windows.0.layers.0.keys", keys}, {"windows.0.layers.0.queries", keys}}, good);  // 4 heads
}

}  // namespace
}  // namespace veloxquant
