#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <veloxquant/core/error.hpp>
#include <veloxquant/io/files.hpp>
#include <veloxquant/models/model_config.hpp>

#include "models/config_fields.hpp"

namespace veloxquant {
namespace {

// Several times what any published model has, so that products of two of them stay far below 2^63.
constexpr std::int64_t kMaxHidden = 1 << 20, kMaxIntermediate = 1 << 22, kMaxLayers = 4096, kMaxHeads = 4096;
constexpr std::int64_t kMaxHeadDim = 4096, kMaxVocab = 1 << 24, kMaxPosition = 1 << 30;
constexpr std::uint64_t kMaxFileBytes = 1 << 20;

constexpr ModelFamily kFamilies[] = {ModelFamily::llama, ModelFamily::mistral, ModelFamily::qwen2,
                                     ModelFamily::qwen3};

ModelFamily read_family(const ConfigFields& fields) {
  const std::vector<std::string> names = fields.texts("architectures");
  if (names.size() == 1) {
    for (const ModelFamily family : kFamilies) {
      if (names[0] == to_string(family)) return family;
    }
  }
  fields.refuse("architectures",
                "served are LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM and Qwen3ForCausalLM");
}

void read_shape(const ConfigFields& fields, ModelConfig& config) {
  config.hidden = fields.integer("hidden_size", 1, kMaxHidden);
  config.intermediate = fields.integer("intermediate_size", 1, kMaxIntermediate);
  config.layers = static_cast<int>(fields.integer("num_hidden_layers", 1, kMaxLayers));
  config.heads = static_cast<int>(fields.integer("num_attention_heads", 1, kMaxHeads));
  config.vocab = fields.integer("vocab_size", 1, kMaxVocab);
  config.max_position = fields.integer("max_position_embeddings", 1, kMaxPosition);
  config.rms_norm_eps = fields.positive("rms_norm_eps", 1.0);

  // Llama files from before grouped queries lack the field.
  config.kv_heads = config.family == ModelFamily::llama && !fields.has("num_key_value_heads")
                        ? config.heads
                        : static_cast<int>(fields.integer("num_key_value_heads", 1, kMaxHeads));
  if (config.heads % config.kv_heads != 0) {
    fields.refuse("num_key_value_heads",
                  fmt::format("it must divide num_attention_heads ({})", config.heads));
  }
  if (fields.has("head_dim") || config.family == ModelFamily::qwen3) {
    config.head_dim = static_cast<int>(fields.integer("head_dim", 2, kMaxHeadDim));
    if (config.head_dim % 2 != 0) fields.refuse("head_dim", "it must be even, for the rotary embedding");
  } else {
    config.head_dim = static_cast<int>(config.hidden / config.heads);
    if (config.hidden % config.heads != 0 || config.head_dim % 2 != 0 || config.head_dim > kMaxHeadDim) {
      fields.refuse(
          "hidden_size",
          fmt::format("without head_dim it must be num_attention_heads ({}) times an even head size up to {}",
                      config.heads, kMaxHeadDim));
    }
  }
}

void read_structure(const ConfigFields& fields, ModelConfig& config) {
  if (fields.has("quantization_config")) {
    fields.refuse("quantization_config", "models with quantized weights are not served");
  }
  if (fields.text_or("hidden_act", "silu") != "silu") fields.refuse("hidden_act", "only silu is served");
  config.tie_word_embeddings = fields.flag_or("tie_word_embeddings", false);
  const bool attention_bias = fields.flag_or("attention_bias", false);
  const bool mlp_bias = fields.flag_or("mlp_bias", false);
  const bool by_field = config.family == ModelFamily::llama || config.family == ModelFamily::qwen3;
  config.qkv_bias = config.family == ModelFamily::qwen2 || (by_field && attention_bias);
  config.output_bias = by_field && attention_bias;
  config.mlp_bias = config.family == ModelFamily::llama && mlp_bias;
  config.qk_norm = config.family == ModelFamily::qwen3;

  const std::vector<std::uint32_t> bos = fields.token_ids("bos_token_id", config.vocab);
  if (bos.size() > 1) fields.refuse("bos_token_id", "it must be one token");
  if (!bos.empty()) config.bos = bos[0];
  config.eos = fields.token_ids("eos_token_id", config.vocab);
}

// Qwen2 and Qwen3: layer_types when the file has them, else max_window_layers full layers and then windows.
void read_qwen_windows(const ConfigFields& fields, ModelConfig& config) {
  const bool used = fields.flag_or("use_sliding_window", false);
  if (fields.has("layer_types")) {
    const std::vector<std::string> types = fields.texts("layer_types");
    if (types.size() != config.windows.size()) {
      fields.refuse("layer_types", fmt::format("it must name every one of the {} layers", config.layers));
    }
    for (std::size_t layer = 0; layer < types.size(); ++layer) {
      if (types[layer] == "full_attention") continue;
      if (types[layer] != "sliding_attention") {
        fields.refuse("layer_types", "served are full_attention and sliding_attention");
      }
      if (!used) fields.refuse("layer_types", "sliding_attention needs use_sliding_window");
      config.windows[layer] = fields.integer("sliding_window", 1, kMaxPosition);
    }
  } else if (used) {
    const std::int64_t full = fields.integer("max_window_layers", 0, kMaxLayers);
    const std::int64_t window = fields.integer("sliding_window", 1, kMaxPosition);
    std::fill(config.windows.begin() + std::min<std::int64_t>(full, config.layers), config.windows.end(),
              window);
  }
}

void read_windows(const ConfigFields& fields, ModelConfig& config) {
  config.windows.assign(static_cast<std::size_t>(config.layers), 0);
  if (config.family == ModelFamily::qwen2 || config.family == ModelFamily::qwen3) {
    return read_qwen_windows(fields, config);
  }
  if (fields.has("layer_types")) {
    fields.refuse("layer_types", fmt::format("{} is served with the same attention on all layers",
                                             to_string(config.family)));
  }
  if (config.family == ModelFamily::mistral && !fields.is_null("sliding_window")) {
    config.windows.assign(config.windows.size(), fields.integer_or("sliding_window", 1, kMaxPosition, 4096));
  }
}

// The scaling rule: its object under the old name or the new one.
void read_scaling(const ConfigFields& scaling, RopeConfig& rope) {
  const char* key = scaling.has("rope_type") ? "rope_type" : "type";
  const std::string type = scaling.text_or(key, "default");
  if (type == "default") return;
  if (type != "linear" && type != "llama3") scaling.refuse(key, "served are default, linear and llama3");
  rope.factor = scaling.positive("factor", 1e6);
  if (rope.factor < 1.0) scaling.refuse("factor", "it must be at least 1");
  if (type == "linear") {
    rope.scaling = RopeConfig::Scaling::linear;
    return;
  }
  rope.scaling = RopeConfig::Scaling::llama3;
  rope.low_freq_factor = scaling.positive("low_freq_factor", 1e6);
  rope.high_freq_factor = scaling.positive("high_freq_factor", 1e6);
  if (rope.high_freq_factor <= rope.low_freq_factor) {
    scaling.refuse("high_freq_factor",
                   fmt::format("it must be above low_freq_factor ({})", rope.low_freq_factor));
  }
  rope.original_max_position = scaling.integer("original_max_position_embeddings", 1, kMaxPosition);
}

// A rotary base below 1 would make the frequencies grow with the coordinate.
double read_theta(const ConfigFields& fields, double missing) {
  const double theta = fields.positive_or("rope_theta", 1e15, missing);
  if (theta < 1.0) fields.refuse("rope_theta", "it must be at least 1");
  return theta;
}

void refuse_partial(const ConfigFields& fields) {
  if (fields.positive_or("partial_rotary_factor", 1e6, 1.0) != 1.0) {
    fields.refuse("partial_rotary_factor", "only whole heads are turned (1)");
  }
}

void read_rope(const ConfigFields& fields, ModelConfig& config) {
  RopeConfig& rope = config.rope;
  rope.rotary_dim = config.head_dim;
  rope.theta = read_theta(fields, 10000.0);
  refuse_partial(fields);
  if (fields.has("rope_scaling") && fields.has("rope_parameters")) {
    fields.refuse("rope_scaling", "rope_parameters is there too and only one of them can hold");
  }
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    if (!fields.has(name)) continue;
    const ConfigFields scaling = fields.object(name);
    for (const char* kind : {"full_attention", "sliding_attention"}) {
      if (scaling.has(kind)) scaling.refuse(kind, "one rotary embedding for all layers is served");
    }
    rope.theta = read_theta(scaling, rope.theta);
    refuse_partial(scaling);
    read_scaling(scaling, rope);
  }
}

}  // namespace

const char* to_string(ModelFamily family) noexcept {
  switch (family) {
    case ModelFamily::llama:
      return "LlamaForCausalLM";
    case ModelFamily::mistral:
      return "MistralForCausalLM";
    case ModelFamily::qwen2:
      return "Qwen2ForCausalLM";
    case ModelFamily::qwen3:
      return "Qwen3ForCausalLM";
  }
  return "unknown";
}

ModelConfig ModelConfig::parse(const std::string& json, const std::string& name) {
  const nlohmann::json object = ConfigFields::parse_object(json, name);
  const ConfigFields fields(object, name + ": ");
  ModelConfig config;
  config.family = read_family(fields);
  read_shape(fields, config);
  read_structure(fields, config);
  read_windows(fields, config);
  read_rope(fields, config);
  return config;
}

ModelConfig ModelConfig::load(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "config.json";
  return parse(read_file(file, kMaxFileBytes), file.string());
}

KVCacheOptions cache_options(const ModelConfig& model) {
  KVCacheOptions options;
  options.layers = model.layers;
  options.kv_heads = model.kv_heads;
  options.head_dim = model.head_dim;
  options.rope = model.rope;
  return options;
}

}  // namespace veloxquant
