// The methods that `precompute` calibrates, and what is asked for on its command line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>
#include <veloxquant/eval/precompute.hpp>

namespace veloxquant::cli {

// Windows, unless asked for others.
inline constexpr std::int64_t kDefaultSamples = 6;

struct PrecomputeFlags {
  std::string method, model, output, text, activations,
      frame = "64", metric = "output", sensitivity = "measured", code = "trellis", gain = "on",
      base = "turboquant_mse", smoothing = "balanced", arithmetic = "auto", format = "table";
  std::vector<int> widths = {1, 2, 3, 4};
  std::optional<std::int64_t> num_samples;
  std::int64_t sequence_length = 4096, sinks = 4;
  double target_bits = 2;
  std::uint64_t seed = 0;
  int threads = 0;
  bool quiet = false, dry_run = false;
};

// A method that is calibrated: what of the flags is its own, and how it is done.
struct CalibratedMethod {
  std::string name;
  std::vector<std::string> flags;
  bool resumes;  // keeps checkpoints
  ArtifactStore (*run)(Decoder& decoder, const CalibrationRequest& request, const PrecomputeFlags& flags);
  CalibrationNeeds (*needs)(const ModelConfig& model, const CalibrationRequest& request,
                            const PrecomputeFlags& flags);
  // The same from --activations.
  ArtifactStore (*run_on)(const ActivationFile& file, const CalibrationRequest& request,
                          const PrecomputeFlags& flags);
  CalibrationNeeds (*needs_on)(const ActivationFile& file, const PrecomputeFlags& flags);
};

const std::vector<CalibratedMethod>& calibrated_methods();

}  // namespace veloxquant::cli
