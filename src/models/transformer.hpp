// The layers of the model: from token ids to hidden states, on caches that have been checked.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include <veloxquant/models/decoder.hpp>

#include "models/linear.hpp"
#include "models/weights.hpp"

namespace veloxquant {

class Transformer {
 public:
  // `config` and `weights` must outlive it.
  Transformer(const ModelConfig& config, const ModelWeights& weights, DType arithmetic,
              std::shared_ptr<ThreadPool> pool);

  // The hidden states of all tokens before the final norm, f32 [tokens, hidden]. The tokens stand at
  // positions from `first` on.
  Tensor run(std::span<const std::uint32_t> tokens, std::int64_t first, LayerCaches caches,
             const ForwardOptions& options);
  // The layers from `first_layer` on, in place; caches are of these layers.
  void run_layers(const Tensor& x, int first_layer, std::int64_t first, LayerCaches caches,
                  const ForwardOptions& options);
  Tensor final_norm(const Tensor& hidden);  // f32 [rows, hidden], contiguous
  Tensor logits(const Tensor& hidden);

 private:
  Tensor embed(std::span<const std::uint32_t> tokens);
  void attention_block(int layer, const class RotaryAngles& angles, PackedKVCache& cache,
                       const ForwardOptions& options, const Tensor& x);
  void mlp_block(int layer, const Tensor& x);
  Tensor normed(const Tensor& x, const Tensor& weight);
  void add_rows(const Tensor& x, const Tensor& y);

  const ModelConfig& config_;
  const ModelWeights& weights_;
  std::shared_ptr<ThreadPool> pool_;
  LinearEngine engine_;
  std::vector<float> frequencies_;
};

}  // namespace veloxquant
