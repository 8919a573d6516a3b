// Looks on while the unquantized model runs over a window: gives each layer's keys and values to caches of
// the measured methods as well, and compares the attention that they give to the model's queries.
#pragma once

#include <cstddef>
#include <vector>
#include <veloxquant/models/decoder.hpp>

#include "eval/method_run.hpp"

namespace veloxquant {

class AttentionProbe {
 public:
  // `runs` must outlive the probe.
  AttentionProbe(const ModelConfig& model, const std::vector<MethodRun>& runs);

  // A LayerObserver.
  void operator()(int layer, const LayerActivations& activations);

  // Of one method, by layer: the sum of |o - exact|^2 over the sum of |exact|^2, over all tokens and heads.
  std::vector<double> error(std::size_t run) const;

  // Keys and values of the first piece, a copy for each layer.
  struct LayerVectors {
    Tensor keys, values;
  };
  const std::vector<LayerVectors>& first_piece() const { return first_piece_; }

 private:
  const ModelConfig& model_;
  std::vector<Caches> caches_;               // by method
  std::vector<std::vector<double>> errors_;  // [method][layer], not yet divided
  std::vector<double> energy_;               // [layer]
  std::vector<LayerVectors> first_piece_;    // [layer]
};

}  // namespace veloxquant
