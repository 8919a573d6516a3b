// Looks on while the unquantized model runs, and gathers what the fits of `spectral` need.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>
#include <veloxquant/calibration/moments.hpp>
#include <veloxquant/core/artifact_store.hpp>
#include <veloxquant/eval/precompute.hpp>

#include "transform/rope_turn.hpp"

namespace veloxquant {

inline constexpr std::int64_t kSampledKeys = 192;  // of a window and layer: those whose metric is taken

struct HeadStatistics {
  Moments keys, values;              // keys before RoPE
  std::vector<double> key_metric;    // [head_dim, head_dim], before RoPE, summed over windows
  std::vector<double> value_metric;  // likewise
};

struct LayerStatistics {
  std::vector<HeadStatistics> heads;  // by KV head
  double hidden_square = 0;           // mean square norm of the layer's input, summed over windows
};

// What of a model the statistics go by.
struct ModelParts {
  ModelConfig config;
  std::shared_ptr<ThreadPool> pool;
  // f32 [hidden, heads * head_dim] of a layer; null: not known, values are then weighed alike.
  std::function<Tensor(int layer)> output_projection;
};
ModelParts parts_of(const Decoder& decoder);

// As in LayerActivations: after the rotary embedding.
struct HeadActivations {
  const Tensor &queries, &keys, &values, &attention;
};

class ModelStatistics {
 public:
  ModelStatistics(ModelParts model, KeyMetric metric, std::int64_t sinks, std::uint64_t seed);

  // Each window comes in one piece. `hidden_square`: mean over the tokens of the squared norm of the layer's input.
  void add(int layer, const HeadActivations& activations, double hidden_square);
  // The same as a LayerObserver.
  void operator()(int layer, const LayerActivations& activations);
  const std::vector<LayerStatistics>& layers() const { return layers_; }

  // What was gathered, exactly; restore() takes it for the same model. Throws ArtifactError for anything else.
  void save(ArtifactStore& store) const;
  void restore(const ArtifactStore& store);

 private:
  struct Sampled;
  void add_moments(int layer, const HeadActivations& a);
  void add_metric(int layer, const HeadActivations& a);
  std::vector<float> sampled_weights(int layer, const HeadActivations& a,
                                     const std::vector<std::int64_t>& positions) const;

  ModelParts model_;
  KeyMetric metric_;
  std::int64_t sinks_;
  std::uint64_t seed_;
  RopeTurn turn_;
  std::vector<LayerStatistics> layers_;
  std::uint64_t pieces_ = 0;
};

}  // namespace veloxquant
