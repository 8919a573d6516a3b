// Looks on while the unquantized model runs, and gathers what the fits of `spectral` need.
#pragma once

#include <cstdint>
#include <vector>
#include <veloxquant/calibration/moments.hpp>
#include <veloxquant/eval/precompute.hpp>

#include "calibration/state.hpp"
#include "eval/calibration_source.hpp"
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

class ModelStatistics {
 public:
  ModelStatistics(ModelParts model, KeyMetric metric, std::int64_t sinks, std::uint64_t seed);

  // Each window comes in one piece. What is drawn at random depends on the window's number, so that the order
  // of windows does not matter.
  void add(std::size_t window, int layer, const HeadActivations& activations);
  // Of other windows of the same model.
  void merge(const ModelStatistics& other);
  const std::vector<LayerStatistics>& layers() const { return layers_; }

  // What was gathered, exactly; restore() takes it for the same model.
  void save(StateWriter& out) const;
  void restore(StateReader& in);

 private:
  void add_moments(int layer, const HeadActivations& a);
  void add_metric(int layer, const HeadActivations& a, std::uint64_t seed);
  std::vector<float> sampled_weights(int layer, const HeadActivations& a,
                                     const std::vector<std::int64_t>& positions) const;

  ModelParts model_;
  KeyMetric metric_;
  std::int64_t sinks_;
  std::uint64_t seed_;
  RopeTurn turn_;
  std::vector<LayerStatistics> layers_;
};

}  // namespace veloxquant
