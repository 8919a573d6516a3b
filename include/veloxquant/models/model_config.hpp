// ModelConfig: the shape of a language model, read from the config.json of a Hugging Face folder.
//
// Served are decoder-only models of four families, by `architectures[0]`:
//
//   LlamaForCausalLM     attention_bias and mlp_bias as the file says
//   MistralForCausalLM   sliding_window on every layer (null: none; absent: 4096, as transformers assumes)
//   Qwen2ForCausalLM     biases on q, k and v; windows by use_sliding_window and max_window_layers or
//   layer_types Qwen3ForCausalLM     RMS norm of every query and key head, explicit head_dim; windows as
//   Qwen2
//
// The activation is silu and the rotary embedding turns whole heads in half-split pairs; its scaling is none
// ("default"), "linear" or "llama3", under the old key rope_scaling or the new rope_parameters. Anything else
// (yarn, dynamic, longrope, partial rotation, quantized weights, other layer types) is refused by name.
//
// Errors: ModelError naming the field, its value and the limit; IoError when the file cannot be read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <veloxquant/core/config.hpp>

namespace veloxquant {

enum class ModelFamily : std::uint8_t { llama, mistral, qwen2, qwen3 };
// "LlamaForCausalLM", ...
const char* to_string(ModelFamily family) noexcept;

struct ModelConfig {
  ModelFamily family = ModelFamily::llama;
  std::int64_t hidden = 0;        // hidden_size
  std::int64_t intermediate = 0;  // intermediate_size, the width of the gated MLP
  int layers = 0;
  int heads = 0;     // query heads
  int kv_heads = 0;  // divides heads
  int head_dim = 0;  // even
  std::int64_t vocab = 0;
  std::int64_t max_position =
      0;  // tokens that the model was trained for; longer contexts run (Decoder::warning)
  double rms_norm_eps = 0;
  RopeConfig rope;

  bool tie_word_embeddings = false;  // the embedding is the output matrix too
  bool qkv_bias = false;
  bool output_bias = false;  // on the attention's output projection
  bool mlp_bias = false;
  bool qk_norm = false;  // RMS norm over head_dim of every query and key head, before the rotation

  std::vector<std::int64_t> windows;  // by layer: the newest tokens that a query sees, itself counted; 0: all
  std::optional<std::uint32_t> bos;   // token that starts a text
  std::vector<std::uint32_t> eos;     // tokens that end one

  // The text of a config.json. `name` stands for it in messages.
  static ModelConfig parse(const std::string& json, const std::string& name = "config.json");
  // folder/config.json
  static ModelConfig load(const std::filesystem::path& folder);
};

// The options of a cache for the model: layers, KV heads, head size and rotary embedding; the rest is the caller's.
KVCacheOptions cache_options(const ModelConfig& model);

}  // namespace veloxquant
