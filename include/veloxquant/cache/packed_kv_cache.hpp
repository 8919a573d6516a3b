// PackedKVCache: the keys and values of one attention layer, held as packed codes in pages.
//
// Every row of the batch owns pages of 64 tokens; a page holds a block for every KV head with the codes and
// scales of its keys and values (src/pack/block_layout.hpp draws it) and nothing is ever unpacked in
// memory. The first `sinks` tokens of a row and its newest `recent` tokens are read exact (f32) when the
// config asks for it. A token is coded when it arrives, the sinks excepted; in the recent window its exact
// vectors are held beside its codes and read in their place. So a value that a code cannot hold is refused
// by the append that brings it. Appending never moves what is there.
//
// Rows of a batch may have different lengths. Memory: nbytes() is exactly what the cache holds: pages (those
// shared with a clone count in both), the unused part of each row's last page, room for the exact tokens,
// positions, page lists and the object itself. The methods are shared by all caches of a layer and count
// themselves (VectorQuantizer::method_bytes).
//
// Threads: const calls may run at the same time as each other; append, update, trim and load need exclusive
// access, as with a standard container. Clones are independent objects even while they share pages.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <veloxquant/attention/mask.hpp>
#include <veloxquant/core/abstractions.hpp>
#include <veloxquant/core/config.hpp>
#include <veloxquant/core/thread_pool.hpp>
#include <veloxquant/quantizers/vector_quantizer.hpp>

namespace veloxquant {

class ArtifactStore;
class KeySearch;
struct LayerKernels;

// The methods of a layer, shared by every cache of that layer.
struct LayerMethods {
  std::shared_ptr<const VectorQuantizer> keys, values;
  // How attention reads their codes; a cache makes it when it is not there.
  std::shared_ptr<const LayerKernels> kernels = nullptr;

  // Bytes that the codes and scales of one token take in pages, all heads: two gains share a byte.
  std::size_t token_bytes(int kv_heads) const noexcept {
    std::size_t bytes = 0;
    for (int h = 0; h < kv_heads; ++h) {
      const bool shared = keys->gain_scale(h) && values->gain_scale(h);
      bytes += keys->code_bytes(h) + keys->scale_bytes(h) + values->code_bytes(h) +
               (shared ? 0 : values->scale_bytes(h));
    }
    return bytes;
  }
};

class PackedKVCache final : public KVCache {
 public:
  // Throws ConfigError when the config's methods cannot be made. `artifacts` feeds calibrated methods.
  PackedKVCache(std::shared_ptr<const KVCacheConfig> config, int layer,
                std::shared_ptr<const ArtifactStore> artifacts = {}, std::shared_ptr<ThreadPool> pool = {});
  // As above with the layer's methods already made.
  PackedKVCache(std::shared_ptr<const KVCacheConfig> config, int layer, LayerMethods methods,
                std::shared_ptr<ThreadPool> pool = {});
  ~PackedKVCache() override;
  PackedKVCache(PackedKVCache&&) noexcept;
  PackedKVCache& operator=(PackedKVCache&&) noexcept;

  // append() followed by state(): where that throws, the tokens stay appended.
  std::pair<Tensor, Tensor> update(const Tensor& keys, const Tensor& values = {}) override;
  // Rows shorter than size() are padded with zeros at the end. Keys and values have the element types of the
  // first append (f32 before it); NumericError when a decoded value is beyond that type.
  std::pair<Tensor, Tensor> state() const override;
  // Positions must grow along a row, from 0 on, and be below 2^40 (ConfigError).
  void append(const Tensor& keys, const Tensor& values = {}, const Tensor& positions = {}) override;
  // For rows of unequal length: row b takes the first lengths[b] of the new tokens.
  void append_ragged(const Tensor& keys, const Tensor& values, std::span<const std::int64_t> lengths,
                     const Tensor& positions = {});
  Tensor attend(const Tensor& queries, float scale = 0, const AttentionMask& mask = {}) const override;
  // For batches whose rows have unequal numbers of new tokens: row b holds lengths[b] queries, the rest of
  // its output is zero.
  Tensor attend_ragged(const Tensor& queries, std::span<const std::int64_t> lengths, float scale = 0,
                       const AttentionMask& mask = {}) const;

  std::int64_t size() const override;
  std::int64_t size(int row) const;
  // Position of token `index` of a row.
  std::int64_t position(int row, std::int64_t index) const;
  std::size_t nbytes() const override;
  // What nbytes() is of a cache of one layer whose rows hold `tokens` tokens each, appended without gaps in
  // their positions and shared with no clone.
  static std::size_t nbytes_of(const KVCacheConfig& config, const LayerMethods& methods, std::int64_t tokens);
  // Codes, scales and gains of the tokens that are read as codes, without slack, exact tokens and
  // bookkeeping: what bits_per_element counts.
  std::size_t coded_bytes() const;
  std::int64_t coded_tokens() const;  // over all rows
  // Drops the newest `count` tokens of every row (ConfigError when a row has fewer). Tokens that had left the
  // recent window stay coded; the window fills up again with what is appended.
  void trim(std::int64_t count) override;
  // Shares the pages, copied when either side writes to them; exact tokens are copied at once.
  std::unique_ptr<KVCache> clone() const override;

  // One sealed safetensors file: codes in canonical order, exact tokens, positions, the config as JSON.
  void save(const std::filesystem::path& file) const override;
  // Replaces the content by the file's, all or nothing. Throws ArtifactError when the file is damaged or was
  // saved under other settings, naming the setting and both values.
  void load(const std::filesystem::path& file) override;

  const KVCacheConfig& config() const noexcept;
  int layer() const noexcept;
  const LayerMethods& methods() const noexcept;

 private:
  friend class KeySearch;  // reads the codes of keys
  struct State;
  std::unique_ptr<State> state_;
};

// How attention reads the full pages of a layer at the CPU level and in the arithmetic in use: "packed
// kernels", or "decoded blocks" or "decoded tiles" and why.
std::string attention_path(const LayerMethods& methods, int kv_heads);

// The methods of every layer of a model. Methods of equal settings are made once and shared, except those
// that are calibrated by layer.
std::vector<LayerMethods> make_layer_methods(const KVCacheConfig& config,
                                             std::shared_ptr<const ArtifactStore> artifacts = {});
// Bytes of the tables and bases of these methods, each counted once: held beside all caches of the model.
std::uint64_t method_bytes(std::span<const LayerMethods> layers);
// One cache per layer.
std::vector<std::unique_ptr<PackedKVCache>> make_caches(std::shared_ptr<const KVCacheConfig> config,
                                                        std::shared_ptr<const ArtifactStore> artifacts = {},
                                                        std::shared_ptr<ThreadPool> pool = {});

}  // namespace veloxquant
