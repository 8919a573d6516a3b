#include "models/weights.hpp"

#include <fmt/format.h>

#include <utility>
#include <veloxquant/core/error.hpp>

namespace veloxquant {
namespace {

using NamedShapes = std::vector<std::pair<std::string, Shape>>;

std::string layer_prefix(int layer) { return fmt::format("model.layers.{}.", layer); }

void add_linear(NamedShapes& list, const std::string& name, std::int64_t outputs, std::int64_t inputs,
                bool bias) {
  list.emplace_back(name + ".weight", Shape{outputs, inputs});
  if (bias) list.emplace_back(name + ".bias", Shape{outputs});
}

void add_layer(NamedShapes& list, const ModelConfig& c, const std::string& prefix) {
  const std::int64_t query = std::int64_t{c.heads} * c.head_dim, key = std::int64_t{c.kv_heads} * c.head_dim;
  list.emplace_back(prefix + "input_layernorm.weight", Shape{c.hidden});
  add_linear(list, prefix + "self_attn.q_proj", query, c.hidden, c.qkv_bias);
  add_linear(list, prefix + "self_attn.k_proj", key, c.hidden, c.qkv_bias);
  add_linear(list, prefix + "self_attn.v_proj", key, c.hidden, c.qkv_bias);
  add_linear(list, prefix + "self_attn.o_proj", c.hidden, query, c.output_bias);
  if (c.qk_norm) {
    list.emplace_back(prefix + "self_attn.q_norm.weight", Shape{c.head_dim});
    list.emplace_back(prefix + "self_attn.k_norm.weight", Shape{c.head_dim});
  }
  list.emplace_back(prefix + "post_attention_layernorm.weight", Shape{c.hidden});
  add_linear(list, prefix + "mlp.gate_proj", c.intermediate, c.hidden, c.mlp_bias);
  add_linear(list, prefix + "mlp.up_proj", c.intermediate, c.hidden, c.mlp_bias);
  add_linear(list, prefix + "mlp.down_proj", c.hidden, c.intermediate, c.mlp_bias);
}

class Loader {
 public:
  Loader(const ShardedSafetensors& file, DType arithmetic) : file_(file), arithmetic_(arithmetic) {}

  Tensor norm(const std::string& name) const { return file_.tensor(name + ".weight").to(DType::f32); }

  Linear linear(const std::string& name, bool bias) const {
    return make_linear(file_.tensor(name + ".weight"), bias ? file_.tensor(name + ".bias") : Tensor(),
                       arithmetic_);
  }

  LayerWeights layer(const ModelConfig& c, const std::string& prefix) const {
    LayerWeights w;
    w.attention_norm = norm(prefix + "input_layernorm");
    w.mlp_norm = norm(prefix + "post_attention_layernorm");
    if (c.qk_norm) {
      w.query_norm = norm(prefix + "self_attn.q_norm");
      w.key_norm = norm(prefix + "self_attn.k_norm");
    }
    w.query = linear(prefix + "self_attn.q_proj", c.qkv_bias);
    w.key = linear(prefix + "self_attn.k_proj", c.qkv_bias);
    w.value = linear(prefix + "self_attn.v_proj", c.qkv_bias);
    w.output = linear(prefix + "self_attn.o_proj", c.output_bias);
    w.gate = linear(prefix + "mlp.gate_proj", c.mlp_bias);
    w.up = linear(prefix + "mlp.up_proj", c.mlp_bias);
    w.down = linear(prefix + "mlp.down_proj", c.mlp_bias);
    return w;
  }

 private:
  const ShardedSafetensors& file_;
  DType arithmetic_;
};

}  // namespace

NamedShapes weight_shapes(const ModelConfig& config) {
  NamedShapes list;
  list.emplace_back("model.embed_tokens.weight", Shape{config.vocab, config.hidden});
  for (int layer = 0; layer < config.layers; ++layer) add_layer(list, config, layer_prefix(layer));
  list.emplace_back("model.norm.weight", Shape{config.hidden});
  if (!config.tie_word_embeddings) list.emplace_back("lm_head.weight", Shape{config.vocab, config.hidden});
  return list;
}

void check_weights(const ModelConfig& config, const ShardedSafetensors& file) {
  for (const auto& [name, shape] : weight_shapes(config)) {
    if (!file.contains(name)) {
      throw ModelError("load model",
                       fmt::format("the tensor {} of shape {} is missing", name, to_string(shape)));
    }
    const TensorInfo& info = file.info(name);
    if (info.shape != shape) {
      throw ModelError("load model", fmt::format("the tensor {} has the shape {}; config.json makes it {}",
                                                 name, to_string(info.shape), to_string(shape)));
    }
    if (info.dtype != DType::f32 && info.dtype != DType::f16 && info.dtype != DType::bf16) {
      throw ModelError("load model", fmt::format("the tensor {} holds {}; served are f32, f16 and bf16", name,
                                                 to_string(info.dtype)));
    }
  }
}

ModelWeights load_weights(const ModelConfig& config, const ShardedSafetensors& file, DType arithmetic) {
  const Loader loader(file, arithmetic);
  ModelWeights weights;
  weights.embedding = file.tensor("model.embed_tokens.weight");
  for (int layer = 0; layer < config.layers; ++layer) {
    weights.layers.push_back(loader.layer(config, layer_prefix(layer)));
  }
  weights.final_norm = loader.norm("model.norm");
  weights.head = config.tie_word_embeddings ? make_linear(weights.embedding, {}, arithmetic)
                                            : loader.linear("lm_head", false);
  return weights;
}

}  // namespace veloxquant
