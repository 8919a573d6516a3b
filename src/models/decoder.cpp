#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>
#include <veloxquant/core/error.hpp>
#include <veloxquant/models/decoder.hpp>

#include "models/transformer.hpp"

namespace veloxquant {
namespace {

constexpr std::size_t kPromptPiece = 512;  // tokens of a prompt that generate_greedy runs at once

Arithmetic choose(Arithmetic asked, const ModelConfig& config, const ShardedSafetensors& file) {
  if (asked == Arithmetic::fp32) return Arithmetic::fp32;
  const Bf16Support support = bf16_support();
  if (asked == Arithmetic::bf16) {
    if (support != Bf16Support::none) return Arithmetic::bf16;
    throw UnsupportedError("load model",
                           "bf16 arithmetic needs a CPU with AVX-512; fp32 and automatic work on this one");
  }
  const auto shapes = weight_shapes(config);
  const bool stored = std::all_of(shapes.begin(), shapes.end(), [&](const auto& weight) {
    return weight.second.size() == 1 ||
           file.info(weight.first).dtype == DType::bf16;  // norms and biases aside
  });
  return stored && support == Bf16Support::native ? Arithmetic::bf16 : Arithmetic::fp32;
}

DType element_type(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::bf16 ? DType::bf16 : DType::f32;
}

// Drops what was appended beyond `size` tokens.
void trim_to(LayerCaches caches, std::int64_t size) {
  for (const auto& cache : caches) {
    if (const std::int64_t added = cache->size() - size; added > 0) cache->trim(added);
  }
}

std::uint32_t most_probable(const Tensor& logits) {
  const auto row = logits.span<float>();
  return static_cast<std::uint32_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

void check_hidden(const Tensor& hidden, const ModelConfig& config, const char* operation) {
  if (hidden.rank() != 2 || hidden.dim(1) != config.hidden) {
    throw ShapeError(operation, fmt::format("hidden states are {}; they must be [rows, {}]",
                                            to_string(hidden.shape()), config.hidden));
  }
  if (hidden.dtype() != DType::f32) {
    throw DTypeError(operation,
                     fmt::format("hidden states are {}; they must be f32", to_string(hidden.dtype())));
  }
}

}  // namespace

const char* to_string(Arithmetic arithmetic) noexcept {
  switch (arithmetic) {
    case Arithmetic::automatic:
      return "automatic";
    case Arithmetic::fp32:
      return "fp32";
    case Arithmetic::bf16:
      return "bf16";
  }
  return "unknown";
}

Arithmetic arithmetic_from(const std::string& name) {
  for (const Arithmetic arithmetic : {Arithmetic::automatic, Arithmetic::fp32, Arithmetic::bf16}) {
    if (name == to_string(arithmetic)) return arithmetic;
  }
  throw ConfigError("arithmetic", fmt::format("'{}' is not one of automatic, fp32, bf16", name));
}

struct Decoder::State {
  State(ModelConfig model, ShardedSafetensors weights_file, Arithmetic chosen, int threads)
      : config(std::move(model)),
        file(std::move(weights_file)),
        arithmetic(chosen),
        pool(std::make_shared<ThreadPool>(threads)),
        weights(load_weights(config, file, element_type(chosen))),
        transformer(config, weights, element_type(chosen), pool) {}

  void check_tokens(std::span<const std::uint32_t> tokens) const {
    if (tokens.empty()) throw ConfigError("forward", "there are no tokens");
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i] >= config.vocab) {
        throw ConfigError("forward", fmt::format("token {} at index {} is outside the vocabulary of {}",
                                                 tokens[i], i, config.vocab));
      }
    }
  }

  void check_caches(LayerCaches caches, int first_layer = 0) const {
    if (std::ssize(caches) != config.layers - first_layer) {
      throw ConfigError("forward", fmt::format("{} caches were given for {} layers", caches.size(),
                                               config.layers - first_layer));
    }
    for (std::size_t layer = 0; layer < caches.size(); ++layer) {
      if (caches[layer] == nullptr)
        throw ConfigError("forward", fmt::format("the cache of layer {} is null", layer));
      const KVCacheOptions& options = caches[layer]->config().options();
      if (options.batch != 1 || options.kv_heads != config.kv_heads || options.head_dim != config.head_dim) {
        throw ConfigError(
            "forward", fmt::format("the cache of layer {} is for batch {}, {} KV heads of {}; the model "
                                   "runs with batch 1, {} KV heads of {}",
                                   layer, options.batch, options.kv_heads, options.head_dim, config.kv_heads,
                                   config.head_dim));
      }
      if (caches[layer]->size() != caches[0]->size()) {
        throw ConfigError("forward", fmt::format("the cache of layer {} holds {} tokens, that of layer 0 {}",
                                                 layer, caches[layer]->size(), caches[0]->size()));
      }
    }
  }

  // The rows asked for, through the final norm.
  Tensor finish(const Tensor& hidden, const ForwardOptions& options) {
    const std::int64_t count = hidden.dim(0), from_end = options.first_row < 0 ? count : 0;
    const std::int64_t first = std::clamp<std::int64_t>(options.first_row + from_end, 0, count);
    return transformer.final_norm(hidden.slice(0, first, count));
  }

  ModelConfig config;
  ShardedSafetensors file;
  Arithmetic arithmetic;
  std::shared_ptr<ThreadPool> pool;
  ModelWeights weights;
  Transformer transformer;
  std::string fingerprint;
};

Decoder::Decoder(std::unique_ptr<State> state) : state_(std::move(state)) {}
Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;
Decoder& Decoder::operator=(Decoder&&) noexcept = default;

Decoder Decoder::load(const std::filesystem::path& folder, const DecoderOptions& options) {
  ModelConfig config = ModelConfig::load(folder);
  ShardedSafetensors file = ShardedSafetensors::open(folder);
  check_weights(config, file);
  const Arithmetic arithmetic = choose(options.arithmetic, config, file);
  return Decoder(std::make_unique<State>(std::move(config), std::move(file), arithmetic, options.threads));
}

const ModelConfig& Decoder::config() const noexcept { return state_->config; }
Arithmetic Decoder::arithmetic() const noexcept { return state_->arithmetic; }
const std::shared_ptr<ThreadPool>& Decoder::pool() const noexcept { return state_->pool; }

const std::string& Decoder::fingerprint() const {
  if (state_->fingerprint.empty()) state_->fingerprint = model_fingerprint(state_->config, state_->file);
  return state_->fingerprint;
}

KVCacheOptions Decoder::cache_options() const {
  KVCacheOptions options = veloxquant::cache_options(config());
  options.model = fingerprint();
  return options;
}

std::optional<std::string> Decoder::warning(std::int64_t context) const {
  if (context <= config().max_position) return std::nullopt;
  return fmt::format(
      "{} tokens are more than the {} that the model was trained for; its answers get worse there", context,
      config().max_position);
}

Tensor Decoder::forward_hidden(std::span<const std::uint32_t> tokens, LayerCaches caches,
                               const ForwardOptions& options) {
  state_->check_tokens(tokens);
  state_->check_caches(caches);
  const std::int64_t size = caches[0]->size();
  Tensor hidden;
  try {
    hidden = state_->transformer.run(tokens, size, caches, options);
  } catch (...) {
    trim_to(caches, size);
    throw;
  }
  return state_->finish(hidden, options);
}

Tensor Decoder::resume_hidden(const Tensor& hidden, int first_layer, LayerCaches caches,
                              const ForwardOptions& options) {
  if (first_layer < 0 || first_layer >= config().layers) {
    throw ConfigError("forward",
                      fmt::format("layer {} asked for; the model has {}", first_layer, config().layers));
  }
  check_hidden(hidden, config(), "forward");
  state_->check_caches(caches, first_layer);
  const std::int64_t size = caches[0]->size();
  const Tensor x = hidden.copy();
  try {
    state_->transformer.run_layers(x, first_layer, size, caches, options);
  } catch (...) {
    trim_to(caches, size);
    throw;
  }
  return state_->finish(x, options);
}

Tensor Decoder::output_projection(int layer) const {
  return state_->weights.layers.at(static_cast<std::size_t>(layer)).output.few_rows.to(DType::f32);
}

Tensor Decoder::logits(const Tensor& hidden) {
  check_hidden(hidden, config(), "logits");
  return state_->transformer.logits(hidden.contiguous());
}

Tensor Decoder::forward(std::span<const std::uint32_t> tokens, LayerCaches caches,
                        const ForwardOptions& options) {
  return logits(forward_hidden(tokens, caches, options));
}

std::vector<std::uint32_t> Decoder::generate_greedy(std::span<const std::uint32_t> prompt, std::int64_t count,
                                                    LayerCaches caches) {
  if (prompt.empty()) throw ConfigError("generate", "the prompt has no tokens");
  if (count < 0) throw ConfigError("generate", fmt::format("{} tokens were asked for", count));
  Tensor last;
  for (std::size_t begin = 0; begin < prompt.size(); begin += kPromptPiece) {
    const std::size_t piece = std::min(kPromptPiece, prompt.size() - begin);
    last = forward_hidden(prompt.subspan(begin, piece), caches, {.first_row = kLastRow, .observer = {}});
  }
  std::vector<std::uint32_t> generated;
  while (std::ssize(generated) < count) {
    if (!generated.empty()) last = forward_hidden(std::span(&generated.back(), 1), caches);
    generated.push_back(most_probable(logits(last)));
  }
  return generated;
}

}  // namespace veloxquant
