// The weights of a model by their place in it, checked against the config.
#pragma once

#include <string>
#include <vector>

#include <veloxquant/core/tensor.hpp>
#include <veloxquant/io/sharded_safetensors.hpp>
#include <veloxquant/models/model_config.hpp>

#include "models/linear.hpp"

namespace veloxquant {

struct LayerWeights {
  Tensor attention_norm, mlp_norm;  // f32 [hidden]
  Tensor query_norm, key_norm;      // f32 [head_dim], or undefined
  Linear query, key, value, output;
  Linear gate, up, down;
};

struct ModelWeights {
  Tensor embedding;  // [vocab, hidden], as in the file
  std::vector<LayerWeights> layers;
  Tensor final_norm;  // f32 [hidden]
  Linear head;        // the output matrix
};

// The tensors that such a model must have, in a fixed order, each with its shape.
std::vector<std::pair<std::string, Shape>> weight_shapes(const ModelConfig& config);

// Throws ModelError naming the tensor when one is missing, of another shape or not f32, f16 or bf16. Tensors
// that the model does not use are left alone.
void check_weights(const ModelConfig& config, const ShardedSafetensors& file);
ModelWeights load_weights(const ModelConfig& config, const ShardedSafetensors& file, DType arithmetic);

// 32 hexadecimal digits of XXH3 over what determines the model's results: architecture, shapes, rotary
// embedding, and the name, element type and bytes of every weight. How the weights are spread over files does
// not count.
std::string model_fingerprint(const ModelConfig& config, const ShardedSafetensors& file);

}  // namespace veloxquant
