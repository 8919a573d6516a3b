// What passes of the model take, for the forecast of what a calibration needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <veloxquant/eval/precompute.hpp>

namespace veloxquant {

// Counts, and bytes of f32.
struct PassSizes {
  PassSizes(const ModelConfig& model, std::size_t window_count, std::int64_t window_tokens);
  PassSizes(const ModelConfig& model, const CalibrationRequest& request)
      : PassSizes(model, request.windows.size(),
                  request.windows.empty() ? 0 : std::ssize(request.windows.front())) {}
  explicit PassSizes(const ActivationFile& file) : PassSizes(file.config(), file.windows(), file.tokens()) {}

  // Passes over a window, with all groups probed on so many of the windows at most.
  double passes(std::size_t probe_windows) const;

  double windows, tokens, layers, heads, groups, dim;
  double pass_bytes;   // caches and activations of a pass
  double probe_bytes;  // inputs of all layers, which probes start from
};

// What is left where the model runs elsewhere.
inline CalibrationNeeds without_passes(CalibrationNeeds needs) {
  needs.passes = 0;
  return needs;
}

}  // namespace veloxquant
