// Where a calibration finds what it goes by: a model that runs on the request's windows, or a file of
// activations.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <veloxquant/eval/activation_file.hpp>
#include <veloxquant/eval/precompute.hpp>
#include <veloxquant/models/decoder.hpp>

namespace veloxquant {

// What of a model the statistics go by.
struct ModelParts {
  ModelConfig config;
  std::shared_ptr<ThreadPool> pool;
  // f32 [hidden, heads * head_dim] of a layer; null: not known.
  std::function<Tensor(int layer)> output_projection;
};

// What one layer computed of a window, as in LayerActivations: after the rotary embedding.
struct HeadActivations {
  const Tensor &queries, &keys, &values, &attention;
  double hidden_square;  // of the layer's input, the mean over the tokens of its squared norm; 0: not known
};
using HeadObserver = std::function<void(int layer, const HeadActivations& activations)>;

struct CalibrationSource {
  ModelParts model;
  std::string name;        // what artifacts are bound to
  std::string computed;    // by what the activations were
  std::uint64_t text = 0;  // hash of the text, or of what stands for it
  std::size_t windows = 0;
  std::int64_t tokens = 0;  // of a window
  // Shows the observer all layers of a window, each in one piece.
  std::function<void(std::size_t window, const HeadObserver& observer)> run;
  Decoder* decoder = nullptr;  // to measure weights with
};

// Both refer to what they are given. The first throws what require_calibration() throws.
CalibrationSource source_of(Decoder& decoder, const CalibrationRequest& request);
// A pool of null: the default one.
CalibrationSource source_of(const ActivationFile& file, const std::shared_ptr<ThreadPool>& pool);

// Throws ConfigError when the sensitivity is to be measured, which needs a model that runs, and when it is a
// proxy and the file has no inputs of layers.
void require_served(const ActivationFile& file, Sensitivity sensitivity);

}  // namespace veloxquant
