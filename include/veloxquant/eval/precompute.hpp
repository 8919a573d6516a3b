// Calibration of methods on a model and a text of the user's own.
//
// `spectral`: one pass of the unquantized model over the windows gathers statistics (mean and covariance of
// keys before RoPE and of values, the output-weighted metric); the fits follow from them; then, if weights are
// to be measured, each group is coded alone at 2 bits and the divergence that this causes is compared with what
// its spectrum predicts.
//
// `ratequant`: one such pass measures what the base method loses on the model's keys and values at each of its widths,
// by layer, KV head and role, and the norms that a cheap proxy of the groups' weights is made from; measured weights
// are the divergence with each group coded alone, over what the base method loses there.
//
// The means that `centre=true` of other methods takes out: one pass adds up keys and values as caches receive them.
//
// `vecinfer`: one pass keeps a sample of the keys and values of every KV head, and the energy of the queries'
// channels; smoothing factors and codebooks follow from them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <veloxquant/calibration/run_code.hpp>
#include <veloxquant/core/artifact_store.hpp>
#include <veloxquant/eval/activation_file.hpp>
#include <veloxquant/eval/communicator.hpp>
#include <veloxquant/eval/windows.hpp>
#include <veloxquant/models/decoder.hpp>
#include <veloxquant/models/model_config.hpp>

namespace veloxquant {

// What an error of a key counts for.
enum class KeyMetric : std::uint8_t {
  output,    // its effect on the layer's output, from attention weights and values
  query,     // its effect on the scores: the second moment of queries
  identity,  // its square
};
// How groups of different layers are weighed against each other.
enum class Sensitivity : std::uint8_t {
  measured,  // KL with only this group coded, over its prediction
  proxy,     // 1 / mean square of the hidden states that the layer adds to
  none,      // all alike
};
const char* to_string(KeyMetric metric) noexcept;
const char* to_string(Sensitivity sensitivity) noexcept;
KeyMetric key_metric_from(const std::string& name);     // throws ConfigError
Sensitivity sensitivity_from(const std::string& name);  // throws ConfigError

// What the calibration of any method is asked for.
struct CalibrationRequest {
  std::vector<TokenIds> windows;  // calibration text; each starts with BOS
  double target_bits = 2;         // the default of caches that ask for no other budget
  std::int64_t sinks = 4;         // first tokens of a window left out: caches keep them exact
  std::uint64_t seed = 0;         // of everything sampled
  // `done` of `total` steps are over; may be null.
  std::function<void(const std::string& stage, const std::string& item, std::size_t done, std::size_t total)>
      progress{};
  // Folder, made when there is something to keep, for what has been found out so far: a run that was cut short
  // and is begun again goes on from it, to the same bytes. Empty: nothing is kept. Whoever has saved the artifacts may delete
  // it. `vecinfer` keeps nothing.
  std::filesystem::path checkpoints{};
  // The processes that share the work, each of which makes the same call: every one takes some of the windows
  // and of the probes, and rank 0 returns the artifacts, the others an empty store. Sums are then rounded in
  // another order. Null: this process alone.
  Communicator* ranks = nullptr;
};

// Throws ConfigError for a request without text or with a negative number of sinks.
void require_calibration(const CalibrationRequest& request);

struct SpectralOptions {
  std::int64_t frame = 64;  // tokens of a RoPE frame; 0: none, keys are coded after RoPE
  KeyMetric metric = KeyMetric::output;
  Sensitivity sensitivity = Sensitivity::measured;
  RunCode code = RunCode::trellis;
  bool gain = true;
  std::size_t sensitivity_windows = 2;
};

// What a calibration takes, before anything runs.
struct CalibrationNeeds {
  double passes = 0;  // of the model over a window; those of its upper layers alone count as their share
  std::uint64_t memory_bytes = 0;  // beside the model's weights: an estimate
  std::uint64_t artifact_bytes = 0;
};
// Each throws what precompute would throw of the options. From activations the model makes no passes.
CalibrationNeeds spectral_needs(const ModelConfig& model, const CalibrationRequest& request,
                                const SpectralOptions& options);
CalibrationNeeds spectral_needs(const ActivationFile& activations, const SpectralOptions& options);

// Throws ConfigError for a request without meaning, UnsupportedError for head sizes that are no multiple
// of 8.
ArtifactStore precompute_spectral(Decoder& decoder, const CalibrationRequest& request,
                                  const SpectralOptions& options);

// The same from activations of a model that ran elsewhere; the request's windows are not looked at.
// Sensitivity is proxy or none. Throws ConfigError for what the file does not hold. A pool of null: the
// default one; likewise below.
ArtifactStore precompute_spectral(const ActivationFile& activations, const CalibrationRequest& request,
                                  const SpectralOptions& options,
                                  const std::shared_ptr<ThreadPool>& pool = {});

struct RatequantOptions {
  std::string base = "turboquant_mse";  // any method that has widths, with its options: "affine:group=32"
  std::vector<int> widths = {1, 2, 3, 4};
  Sensitivity sensitivity = Sensitivity::measured;  // or proxy
  std::size_t sensitivity_windows = 2;
};

// Throws ConfigError for a base method that has no widths of its own or not these, fewer than two widths, and a
// sensitivity of none.
ArtifactStore precompute_ratequant(Decoder& decoder, const CalibrationRequest& request,
                                   const RatequantOptions& options);
// The same from activations, with a sensitivity of proxy. Throws ConfigError for a file without inputs of
// layers or output projections, which the proxy goes by.
ArtifactStore precompute_ratequant(const ActivationFile& activations, const CalibrationRequest& request,
                                   const RatequantOptions& options,
                                   const std::shared_ptr<ThreadPool>& pool = {});
CalibrationNeeds ratequant_needs(const ModelConfig& model, const CalibrationRequest& request,
                                 const RatequantOptions& options);
CalibrationNeeds ratequant_needs(const ActivationFile& activations, const RatequantOptions& options);

// Per layer and KV head the mean of the keys, after RoPE, and of the values; without the windows' sinks. The
// request's budget and seed are not looked at. Throws ConfigError for a text without other tokens.
ArtifactStore precompute_means(Decoder& decoder, const CalibrationRequest& request);
ArtifactStore precompute_means(const ActivationFile& activations, const CalibrationRequest& request,
                               const std::shared_ptr<ThreadPool>& pool = {});
CalibrationNeeds means_needs(const ModelConfig& model, const CalibrationRequest& request);
CalibrationNeeds means_needs(const ActivationFile& activations);

// What `vecinfer` divides the channels of keys by before it rotates them.
enum class Smoothing : std::uint8_t {
  balanced,  // (E k^2 / E q^2)^(1/4): errors then weigh least on the scores
  keys,      // sqrt(max |k|), as the paper (arXiv:2510.06175) has it
  none,      // 1
};
const char* to_string(Smoothing smoothing) noexcept;
Smoothing smoothing_from(const std::string& name);  // throws ConfigError

// Throws ConfigError for a text that is too short to train codebooks on, UnsupportedError for head sizes that are
// no multiple of 8.
ArtifactStore precompute_vecinfer(Decoder& decoder, const CalibrationRequest& request, Smoothing smoothing);
ArtifactStore precompute_vecinfer(const ActivationFile& activations, const CalibrationRequest& request,
                                  Smoothing smoothing, const std::shared_ptr<ThreadPool>& pool = {});
CalibrationNeeds vecinfer_needs(const ModelConfig& model, const CalibrationRequest& request);
CalibrationNeeds vecinfer_needs(const ActivationFile& activations);

}  // namespace veloxquant
