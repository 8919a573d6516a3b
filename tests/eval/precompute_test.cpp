// Calibration of methods on the demo model, with little text.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/activation_file.hpp>
#include <veloxquant/eval/benchmark.hpp>

#include "eval/calibration_fixtures.hpp"

namespace veloxquant {
namespace {

using ::testing::HasSubstr;
using namespace testing;

// A calibration that keeps checkpoints, and its steps: windows, what follows from them, and probes.
struct Resumed {
  const char* name;
  std::function<ArtifactStore(Decoder& decoder, const CalibrationRequest& request)> run;
  std::size_t windows, fits, probes;
};

const std::vector<Resumed>& resumed() {
  static const std::vector<Resumed> kAll = {
      {"spectral",
       [](Decoder& decoder, const CalibrationRequest& request) {
         return precompute_spectral(decoder, request, {.sensitivity_windows = 2});
       },
       3, 6, 48},
      {"ratequant",
       [](Decoder& decoder, const CalibrationRequest& request) {
         return precompute_ratequant(decoder, request, {.widths = {1, 2, 4}, .sensitivity_windows = 2});
       },
       3, 0, 48}};
  return kAll;
}

// Cut short before any of its steps and begun again, a calibration ends in the same bytes, and does not
// repeat what was done.
TEST(Precompute, GoesOnWhereItWasCutShort) {
  Decoder decoder = Decoder::load(kDemoModel, {.arithmetic = Arithmetic::fp32});
  for (const Resumed& method : resumed()) {
    const TemporaryFolder folder;
    CalibrationRequest request = request_for(decoder, 96, 3);
    std::size_t steps = 0;
    request.progress = [&](const std::string&, const std::string&, std::size_t, std::size_t total) {
      steps = total;
    };
    const std::string wanted = saved(method.run(decoder, request), folder.path() / "whole");
    EXPECT_EQ(steps, method.windows + method.fits + method.probes) << method.name;

    struct Killed {};
    for (std::size_t cut = 0; cut < steps; cut += cut < 4 ? 2 : 13) {
      request.checkpoints = folder.path() / std::to_string(cut);
      request.progress = [&](const std::string&, const std::string&, std::size_t done, std::size_t) {
        if (done == cut) throw Killed();
      };
      EXPECT_THROW(method.run(decoder, request), Killed) << method.name << " " << cut;
      std::vector<std::string> stages;
      request.progress = [&](const std::string& stage, const std::string&, std::size_t, std::size_t) {
        stages.push_back(stage);
      };
      EXPECT_EQ(saved(method.run(decoder, request), folder.path() / "again"), wanted)
          << method.name << " " << cut;
      const auto count = [&](const char* stage) {
        return static_cast<std::size_t>(std::ranges::count(stages, stage));
      };
      EXPECT_EQ(count("statistics"), method.windows - std::min(cut, method.windows))
          << method.name << " " << cut;
      const std::size_t before_probes = method.windows + method.fits;
      EXPECT_EQ(count("sensitivity"), method.probes - (cut > before_probes ? cut - before_probes : 0))
          << method.name << " " << cut;
    }
  }
}

// What another request has left, another method, and what is damaged, is not gone on from.
TEST(Precompute, GoesOnFromItsOwnCheckpointsOnly) {
  const TemporaryFolder folder;
  Decoder decoder = Decoder::load(kDemoModel, {.arithmetic = Arithmetic::fp32});
  CalibrationRequest request = request_for(decoder, 96, 1);
  SpectralOptions options{.frame = 16, .sensitivity = Sensitivity::none};
  const std::string wanted = saved(precompute_spectral(decoder, request, options), folder.path() / "whole");
  const auto again = [&] {
    return saved(precompute_spectral(decoder, request, options), folder.path() / "again");
  };
  request.checkpoints = folder.path();
  options.frame = 64;
  precompute_spectral(decoder, request, options);
  ASSERT_TRUE(std::filesystem::exists(folder.path() / "statistics.safetensors"));
  options.frame = 16;
  EXPECT_EQ(again(), wanted);
  precompute_ratequant(decoder, request, {.widths = {1, 2}, .sensitivity = Sensitivity::proxy});
  EXPECT_EQ(again(), wanted);

  std::string bytes = read_file(folder.path() / "statistics.safetensors", 1 << 26);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write_file_atomically(folder.path() / "statistics.safetensors", bytes);
  EXPECT_EQ(again(), wanted);
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
  const double measured = 3 + 2 * (1 + 4 * (6 + 5 + 4 + 3 + 2 + 1) / 6.0);
  EXPECT_DOUBLE_EQ(needs.passes, measured);

  const RatequantOptions widths{.widths = {2, 3}};
  needs = ratequant_needs(decoder.config(), request, widths);
  EXPECT_DOUBLE_EQ(needs.passes, measured);
  EXPECT_EQ(needs.artifact_bytes, 24 * 4 * sizeof(float));  // of 24 groups: two widths, weight and proxy
  EXPECT_EQ(needs.artifact_bytes, precompute_ratequant(decoder, request, widths).nbytes());
  EXPECT_THROW(ratequant_needs(decoder.config(), request, {.widths = {2}}), ConfigError);
  needs = vecinfer_needs(decoder.config(), request);
  EXPECT_DOUBLE_EQ(needs.passes, 3);
  // Codebooks of 256 x 8, 256 x 4 and 4096 x 4; a mean, and factors of keys.
  EXPECT_EQ(needs.artifact_bytes, (24 * (256 * 12 + 4096 * 4 + 64) + 12 * 64) * sizeof(float));
}

// The same artifacts, up to the rounding of turning keys back and forth.
TEST(Precompute, ActivationsServeInPlaceOfTheModel) {
  const TemporaryFolder folder;
  Decoder decoder = Decoder::load(kDemoModel, {.arithmetic = Arithmetic::fp32});
  CalibrationRequest request = request_for(decoder, 300, 2);
  const SpectralOptions options{.sensitivity = Sensitivity::proxy};
  write_activations(decoder, request, folder.path() / "with.safetensors", true);
  const ActivationFile file = ActivationFile::open(folder.path() / "with.safetensors");
  // Bases are free in sign.
  expect_near(precompute_spectral(file, request, options), precompute_spectral(decoder, request, options),
              {"lambda", "mean", "weight"}, 2e-3f);
  const RatequantOptions widths{.base = "affine", .widths = {2, 4}, .sensitivity = Sensitivity::proxy};
  expect_near(precompute_ratequant(file, request, widths), precompute_ratequant(decoder, request, widths),
              {"distortion", "proxy"}, 2e-3f);
  EXPECT_EQ(spectral_needs(file, options).passes, 0);
  EXPECT_EQ(ratequant_needs(file, widths).artifact_bytes,
            ratequant_needs(decoder.config(), request, widths).artifact_bytes);

  // What the file does not hold is refused, and what does without it is served.
  const auto expect_refused = [](const char* what, const auto& call) {
    try {
      call();
      ADD_FAILURE() << what;
    } catch (const ConfigError& e) {
      EXPECT_THAT(e.what(), HasSubstr(what));
    }
  };
  expect_refused("sensitivity of 'measured'", [&] { precompute_spectral(file, request, {}); });
  expect_refused("sensitivity of 'measured'", [&] { precompute_ratequant(file, request, {}); });
  expect_refused("sensitivity of 'measured'", [&] { ratequant_needs(file, {}); });
  write_activations(decoder, request, folder.path() / "without.safetensors", false);
  const ActivationFile bare = ActivationFile::open(folder.path() / "without.safetensors");
  expect_refused("output projections", [&] { precompute_spectral(bare, request, options); });
  expect_refused("output projections", [&] { precompute_ratequant(bare, request, widths); });
  EXPECT_NO_THROW(precompute_spectral(
      bare, request, SpectralOptions{.metric = KeyMetric::query, .sensitivity = Sensitivity::none}));
}

TEST(Precompute, ActivationsServeForCodebooks) {
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  GTEST_SKIP() << "training takes minutes";
#endif
#endif
  const TemporaryFolder folder;
  Decoder decoder = Decoder::load(kDemoModel, {.arithmetic = Arithmetic::fp32});
  const CalibrationRequest request = request_for(decoder, 520, 2);
  write_activations(decoder, request, folder.path() / "bare.safetensors", false);
  const ActivationFile file = ActivationFile::open(folder.path() / "bare.safetensors");
  expect_near(precompute_vecinfer(file, request, Smoothing::balanced),
              precompute_vecinfer(decoder, request, Smoothing::balanced), {"mean", "smooth"}, 1e-3f);
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
  NamedTensors empty;
  for (int layer = 0; layer < 6; ++layer) {
    for (const char* what : {"queries", "keys", "values"}) {
      empty.emplace_back(fmt::format("windows.0.layers.{}.{}", layer, what),
                         Tensor::zeros({what[0] == 'q' ? 4 : 2, 0, 64}, DType::f32));
    }
  }
  refused(empty, good);
}

TEST(Precompute, ActivationsAreReadWhole) {
  const TemporaryFolder folder;
  Decoder decoder = Decoder::load(kDemoModel, {.arithmetic = Arithmetic::fp32});
  const std::filesystem::path path = folder.path() / "a.safetensors";
  write_activations(decoder, request_for(decoder, 32, 2), path, false);
  const SafetensorsFile whole = SafetensorsFile::open(path);
  const std::uint64_t hash = ActivationFile::open(path).hash();
  const auto changed = [&](const std::string& from, const std::string& to, Metadata metadata) {
    NamedTensors tensors;
    for (const auto& [name, info] : whole.tensors()) {
      const bool moved = name.starts_with(from);
      tensors.emplace_back(moved ? to + name.substr(from.size()) : name, whole.tensor(name).copy());
    }
    const std::filesystem::path other = folder.path() / "b.safetensors";
    write_safetensors(other, tensors, metadata);
    return other;
  };
  // A window after a gap, a layer that the model has not.
  EXPECT_THROW(ActivationFile::open(changed("windows.1.", "windows.2.", whole.metadata())), ArtifactError);
  EXPECT_THROW(ActivationFile::open(changed("windows.1.layers.5.", "windows.1.layers.6.", whole.metadata())),
               ArtifactError);
  // What another rotary embedding has turned back are other keys, though their numbers be the same.
  Metadata turned = whole.metadata();
  std::string& config = turned.at("config");
  const std::size_t at = config.find("\"rope_theta\": ") + 14;
  ASSERT_NE(at, std::string::npos + 14);
  config.insert(at, "9");
  EXPECT_NE(ActivationFile::open(changed("x", "x", turned)).hash(), hash);
  EXPECT_EQ(ActivationFile::open(changed("x", "x", whole.metadata())).hash(), hash);
}

}  // namespace
}  // namespace veloxquant
