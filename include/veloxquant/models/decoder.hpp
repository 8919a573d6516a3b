// Decoder: runs the language model of a Hugging Face folder on packed caches.
//
//     Decoder model = Decoder::load("models/demo/probe-6m-llama");
//     auto options = model.cache_options();
//     options.keys = options.values = MethodSpec::parse("turboquant_mse:4");
//     auto caches = make_caches(std::make_shared<const KVCacheConfig>(options), {}, model.pool());
//     Tensor logits = model.forward(tokens, caches);                      // f32 [tokens, vocab]
//
// Each call appends the tokens' keys and values to the caches, one per layer, and attends on what the caches
// hold: every token sees its own key and value as the cache stores them, not as they were computed. Keys are
// stored after the rotary embedding, at positions counting on from the cache's size. A long text goes in by
// pieces, one call each; the caller chooses their size. One sequence at a time: caches of batch 1.
//
// Matrix products run in bf16 (inputs rounded to bf16, sums in f32; up to 4 tokens at a time keep f32 inputs)
// or in fp32; everything else, keys and values included, is f32.
//
// Threads: the members that take caches, logits() and fingerprint() use the decoder's own memory and its
// thread pool, so a decoder serves one thread at a time. Results do not depend on the number of threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <veloxquant/cache/packed_kv_cache.hpp>
#include <veloxquant/core/config.hpp>
#include <veloxquant/core/tensor.hpp>
#include <veloxquant/core/thread_pool.hpp>
#include <veloxquant/models/model_config.hpp>

namespace veloxquant {

// automatic: bf16 when the model's matrices are stored in bf16 and this CPU multiplies bf16 natively, else
// fp32.
enum class Arithmetic : std::uint8_t { automatic, fp32, bf16 };
// "automatic", "fp32", "bf16".
const char* to_string(Arithmetic arithmetic) noexcept;
// Throws ConfigError for another name.
Arithmetic arithmetic_from(const std::string& name);

struct DecoderOptions {
  Arithmetic arithmetic = Arithmetic::automatic;
  int threads = 1;  // 0: all processors
};

// What one layer computed, for measuring; see ForwardOptions. All f32, of `n` new tokens.
struct LayerActivations {
  const Tensor& input;      // [n, hidden]: the hidden states before the layer
  const Tensor& queries;    // [1, heads, n, head_dim], normalized and turned
  const Tensor& keys;       // [1, kv_heads, n, head_dim], likewise: what the cache was given
  const Tensor& values;     // [1, kv_heads, n, head_dim]
  const Tensor& attention;  // [1, heads, n, head_dim]: what the cache's attend() gave
};
// Writes to a layer's keys and values (as in LayerActivations) before its cache takes them: what a code would
// lose can be put in place of the real thing.
using LayerEditor = std::function<void(int layer, const Tensor& keys, const Tensor& values)>;
// The tensors are the decoder's own memory: copy what is to outlive the call.
using LayerObserver = std::function<void(int layer, const LayerActivations& activations)>;

// Which rows of a forward pass are returned: those from `first_row` on; negative numbers count from the end.
inline constexpr std::int64_t kAllRows = 0;
inline constexpr std::int64_t kLastRow = -1;
inline constexpr std::int64_t kNoRows = std::numeric_limits<std::int64_t>::max();

struct ForwardOptions {
  std::int64_t first_row = kAllRows;
  LayerObserver observer;  // called after each layer's attention; null: nobody looks
  LayerEditor editor{};    // null: nobody writes
};

using LayerCaches = std::span<const std::unique_ptr<PackedKVCache>>;

class Decoder {
 public:
  // Maps the weights (bf16 ones are used where they lie; others are converted once). Throws ModelError for a
  // folder that is not served, IoError, ArtifactError for damaged files, and UnsupportedError when bf16 is
  // asked for on a CPU that cannot.
  static Decoder load(const std::filesystem::path& folder, const DecoderOptions& options = {});
  ~Decoder();
  Decoder(Decoder&&) noexcept;
  Decoder& operator=(Decoder&&) noexcept;

  const ModelConfig& config() const noexcept;
  const RopeConfig& rope() const noexcept { return config().rope; }
  Arithmetic arithmetic() const noexcept;  // the one in use: fp32 or bf16
  // 32 hexadecimal digits over the architecture and all weights, the same for every sharding and arithmetic.
  // The first call reads the whole model.
  const std::string& fingerprint() const;
  // The pool that the decoder works with; caches may share it.
  const std::shared_ptr<ThreadPool>& pool() const noexcept;
  // Layers, heads, rotary embedding and fingerprint of this model; the methods are left to the caller.
  KVCacheOptions cache_options() const;
  // The weights of a layer's output projection, f32 [hidden, heads * head_dim].
  Tensor output_projection(int layer) const;
  // A sentence for the user when `context` tokens are more than the model was trained for. Such contexts run.
  std::optional<std::string> warning(std::int64_t context) const;

  // Runs `tokens` through all layers. Returns the hidden states after the final norm, f32 [rows, hidden], of
  // the rows asked for: logits() takes them, whole or by pieces. Throws ConfigError for tokens outside the
  // vocabulary and caches that do not fit the model or differ in size, and what the caches throw; the new
  // tokens are then trimmed from the caches that took them.
  Tensor forward_hidden(std::span<const std::uint32_t> tokens, LayerCaches caches,
                        const ForwardOptions& options = {});
  // The same from layer `first_layer` on: `hidden` f32 [tokens, hidden] is what an observer saw as that
  // layer's input, `caches` are those of the layers from there on.
  Tensor resume_hidden(const Tensor& hidden, int first_layer, LayerCaches caches,
                       const ForwardOptions& options = {});
  // Hidden states f32 [rows, hidden] -> logits f32 [rows, vocab].
  Tensor logits(const Tensor& hidden);
  // Both at once: logits f32 [rows, vocab].
  Tensor forward(std::span<const std::uint32_t> tokens, LayerCaches caches,
                 const ForwardOptions& options = {});

  // `count` tokens after `prompt` (at least one token), each the most probable; of equals the lowest.
  // End-of-text tokens do not stop it. The caches then hold everything but the last token returned.
  std::vector<std::uint32_t> generate_greedy(std::span<const std::uint32_t> prompt, std::int64_t count,
                                             LayerCaches caches);

 private:
  struct State;
  explicit Decoder(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace veloxquant
