#include <veloxquant/cache/packed_kv_cache.hpp>

#include <fmt/format.h>

#include <cstring>
#include <vector>
#include <veloxquant/core/error.hpp>

#include "cache/cache_state.hpp"
#include "cache/coded_side.hpp"

namespace veloxquant {
namespace {

void check_method(const std::shared_ptr<const VectorQuantizer>& method, const KVCacheConfig& config,
                  Role role) {
  if (!method) throw ConfigError("cache", fmt::format("no method for {}", to_string(role)));
  if (method->head_dim() != config.options().head_dim) {
    throw ConfigError("cache", fmt::format("the method for {} is made for head_dim {}, the config says {}",
                                           to_string(role), method->head_dim(), config.options().head_dim));
  }
  if (method->kv_heads() != 0 && method->kv_heads() != config.options().kv_heads) {
    throw ConfigError("cache", fmt::format("the method for {} is made for {} KV heads, the config says {}",
                                           to_string(role), method->kv_heads(), config.options().kv_heads));
  }
}

// What a method says of its codes must be what it writes: pages are laid out by the one and read by the other.
void check_codes(const VectorQuantizer& method, int heads, Role role) {
  for (int h = 0; h < heads; ++h) {
    const CodeSpec* spec = method.code_spec(h);
    if (spec == nullptr) continue;
    if (spec->code_bytes() != method.code_bytes(h) || spec->scale_bytes() != method.scale_bytes(h)) {
      throw ConfigError("cache",
                        fmt::format("codes of {} are '{}', {} + {} bytes, but the method writes {} + {}",
                                    to_string(role), spec->name(), spec->code_bytes(), spec->scale_bytes(),
                                    method.code_bytes(h), method.scale_bytes(h)));
    }
  }
}

HeldVector<HeadBlock> head_blocks(const LayerMethods& methods, int heads) {
  HeldVector<HeadBlock> blocks;
  blocks.reserve(static_cast<std::size_t>(heads));
  std::size_t offset = 0;
  for (int h = 0; h < heads; ++h) {
    const auto bytes = [h](const VectorQuantizer& method) {
      return VectorBytes{method.code_bytes(h), method.scale_bytes(h), method.gain_scale(h)};
    };
    const BlockLayout layout(bytes(*methods.keys), bytes(*methods.values));
    const auto order = [&](const VectorQuantizer& method, Role role) {
      // Shared gains stand with the keys.
      const bool bare = role == Role::values && layout.shares_gains();
      const CodeSpec* spec = method.code_spec(h);
      if (spec == nullptr) return row_order(method.code_bytes(h), bare ? 0 : method.scale_bytes(h));
      CodeSpec stored = *spec;
      if (bare) stored.vector_scale = VectorScale::none;
      return block_order(stored, role);
    };
    blocks.push_back(
        {layout, offset, order(*methods.keys, Role::keys), order(*methods.values, Role::values)});
    offset += layout.bytes();
  }
  return blocks;
}

const KVCacheConfig& checked(const std::shared_ptr<const KVCacheConfig>& config, int layer) {
  if (!config) throw ConfigError("cache", "no config");
  if (layer < 0 || layer >= config->options().layers) {
    throw ConfigError("cache",
                      fmt::format("layer {} of a config with {} layers", layer, config->options().layers));
  }
  return *config;
}

std::int64_t checked_row(const CacheState& cache, int row, const char* operation) {
  if (row < 0 || row >= cache.options().batch) {
    throw ShapeError(operation, fmt::format("row {} of a batch of {}", row, cache.options().batch));
  }
  return cache.rows[static_cast<std::size_t>(row)].size;
}

}  // namespace

PackedKVCache::PackedKVCache(std::shared_ptr<const KVCacheConfig> config, int layer, LayerMethods methods,
                             std::shared_ptr<ThreadPool> pool) {
  const KVCacheConfig& settings = checked(config, layer);
  check_method(methods.keys, settings, Role::keys);
  check_method(methods.values, settings, Role::values);
  check_codes(*methods.keys, settings.options().kv_heads, Role::keys);
  check_codes(*methods.values, settings.options().kv_heads, Role::values);
  auto blocks = head_blocks(methods, settings.options().kv_heads);
  if (!pool) pool = default_thread_pool();
  if (!methods.kernels)
    methods.kernels = std::make_shared<const LayerKernels>(methods, settings.options().kv_heads);
  state_.reset(new State{{.config = std::move(config),
                          .layer = layer,
                          .methods = std::move(methods),
                          .pool = std::move(pool),
                          .blocks = std::move(blocks)}});
  const auto batch = static_cast<std::size_t>(settings.options().batch);
  state_->rows.reserve(batch);
  while (state_->rows.size() < batch) state_->rows.push_back(state_->empty_row());
}

PackedKVCache::PackedKVCache(std::shared_ptr<const KVCacheConfig> config, int layer,
                             std::shared_ptr<const ArtifactStore> artifacts, std::shared_ptr<ThreadPool> pool)
    : PackedKVCache(config, layer, (checked(config, layer), make_methods(config, layer, artifacts)),
                    std::move(pool)) {}

PackedKVCache::~PackedKVCache() = default;
PackedKVCache::PackedKVCache(PackedKVCache&&) noexcept = default;
PackedKVCache& PackedKVCache::operator=(PackedKVCache&&) noexcept = default;

std::pair<Tensor, Tensor> PackedKVCache::update(const Tensor& keys, const Tensor& values) {
  append(keys, values);
  return state();
}

std::pair<Tensor, Tensor> PackedKVCache::state() const { return decode_history(*state_); }

void PackedKVCache::append(const Tensor& keys, const Tensor& values, const Tensor& positions) {
  append_tokens(*state_, keys, values, {}, positions);
}

void PackedKVCache::append_ragged(const Tensor& keys, const Tensor& values,
                                  std::span<const std::int64_t> lengths, const Tensor& positions) {
  if (lengths.empty()) throw ShapeError("append_ragged", "no lengths; give one for each row");
  append_tokens(*state_, keys, values, lengths, positions);
}

Tensor PackedKVCache::attend(const Tensor& queries, float scale, const AttentionMask& mask) const {
  return attend_history(*state_, queries, {}, scale, mask);
}

Tensor PackedKVCache::attend_ragged(const Tensor& queries, std::span<const std::int64_t> lengths, float scale,
                                    const AttentionMask& mask) const {
  if (lengths.empty()) throw ShapeError("attend_ragged", "no lengths; give one for each row");
  return attend_history(*state_, queries, lengths, scale, mask);
}

std::int64_t PackedKVCache::size() const {
  std::int64_t longest = 0;
  for (const CacheRow& row : state_->rows) longest = std::max(longest, row.size);
  return longest;
}

std::int64_t PackedKVCache::size(int row) const { return checked_row(*state_, row, "size"); }

std::int64_t PackedKVCache::position(int row, std::int64_t index) const {
  const std::int64_t size = checked_row(*state_, row, "position");
  if (index < 0 || index >= size) {
    throw ShapeError("position", fmt::format("token {} of row {}, which has {} tokens", index, row, size));
  }
  return state_->rows[static_cast<std::size_t>(row)].positions.at(index);
}

std::size_t PackedKVCache::nbytes() const {
  std::size_t bytes = sizeof(State) + held_by(state_->rows) + held_by(state_->blocks);
  for (const CacheRow& row : state_->rows)
    bytes += row.pages.nbytes() + row.positions.nbytes() + row.exact.nbytes();
  return bytes;
}

std::size_t PackedKVCache::nbytes_of(const KVCacheConfig& config, const LayerMethods& methods,
                                     std::int64_t tokens) {
  const KVCacheOptions& o = config.options();
  const auto blocks = head_blocks(methods, o.kv_heads);
  const std::int64_t coded = std::max<std::int64_t>(0, tokens - o.sinks);
  const std::size_t row =
      sizeof(CacheRow) +
      PageList::nbytes_of(static_cast<std::size_t>(pages_for(coded)), bytes_of_page(blocks)) +
      (tokens > 0 ? PositionList::nbytes_without_gaps() : 0) +
      ExactTokens::nbytes_of(o.kv_heads, o.head_dim, o.sinks, o.recent);
  return sizeof(State) + held_by(blocks) + static_cast<std::size_t>(o.batch) * row;
}

std::int64_t PackedKVCache::coded_tokens() const {
  std::int64_t tokens = 0;
  for (const CacheRow& row : state_->rows) tokens += state_->coded(std::min(row.size, row.recent_begin));
  return tokens;
}

std::size_t PackedKVCache::coded_bytes() const {
  std::size_t bytes = 0;
  for (const HeadBlock& block : state_->blocks) bytes += block.layout.token_bytes();
  return static_cast<std::size_t>(coded_tokens()) * bytes;
}

void PackedKVCache::trim(std::int64_t count) {
  if (count < 0) throw ConfigError("trim", fmt::format("cannot drop {} tokens", count));
  for (std::size_t b = 0; b < state_->rows.size(); ++b) {
    if (state_->rows[b].size < count) {
      throw ConfigError("trim", fmt::format("cannot drop {} tokens of row {}, which has {}", count, b,
                                            state_->rows[b].size));
    }
  }
  ++state_->rewrites;
  for (CacheRow& row : state_->rows) {
    row.size -= count;
    row.recent_begin = std::max(state_->options().sinks, std::min(row.recent_begin, row.size));
    row.pages.truncate(static_cast<std::size_t>(pages_for(state_->coded(row.size))));
    row.packed = std::min(row.packed, static_cast<std::int64_t>(row.pages.size()));
    row.positions.truncate(row.size);
  }
}

std::unique_ptr<KVCache> PackedKVCache::clone() const {
  auto copy = std::make_unique<PackedKVCache>(state_->config, state_->layer, state_->methods, state_->pool);
  copy->state_.reset(new State(*state_));
  return copy;
}

void PackedKVCache::save(const std::filesystem::path& file) const { save_cache(*state_, file); }
void PackedKVCache::load(const std::filesystem::path& file) { load_cache(*state_, file); }

const KVCacheConfig& PackedKVCache::config() const noexcept { return *state_->config; }
int PackedKVCache::layer() const noexcept { return state_->layer; }
const LayerMethods& PackedKVCache::methods() const noexcept { return state_->methods; }

}  // namespace veloxquant
