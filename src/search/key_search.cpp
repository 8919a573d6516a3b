#include <veloxquant/search/key_search.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>
#include <veloxquant/core/error.hpp>
#include <veloxquant/core/half.hpp>

#include "attention/attend.hpp"
#include "cache/cache_state.hpp"
#include "codebook/row_math.hpp"
#include "search/candidates.hpp"
#include "search/sign_planes.hpp"

namespace veloxquant {
namespace {

constexpr const char* kOperation = "key search";

void require_served(const VectorQuantizer& keys, int heads) {
  for (int h = 0; h < heads; ++h) {
    if (keys.code_spec(h) != nullptr && keys.basis(h) == nullptr && keys.transform(h) != nullptr) continue;
    throw UnsupportedError(
        kOperation,
        "the margins rest on a random rotation of every key, which this method of keys does not have; "
        "use rabitq, or a method with transform=hadamard or haar");
  }
}

}  // namespace

struct KeySearch::State {
  explicit State(const CacheState& of) : cache(&of), rewrites(of.rewrites) {
    const KVCacheOptions& o = of.options();
    require_served(*of.methods.keys, o.kv_heads);
    for (int h = 0; h < o.kv_heads; ++h) decoders.push_back(tile_decoder(*of.methods.keys->code_spec(h)));
    planes.assign(static_cast<std::size_t>(o.batch) * static_cast<std::size_t>(o.kv_heads),
                  SignPlanes(o.head_dim));
  }

  const SignPlanes& of(int row, int head) const { return planes[place(row, head)]; }
  SignPlanes& of(int row, int head) { return planes[place(row, head)]; }
  std::size_t place(int row, int head) const {
    return static_cast<std::size_t>(row) * static_cast<std::size_t>(cache->options().kv_heads) +
           static_cast<std::size_t>(head);
  }
  const CacheRow& row_of(int row) const { return cache->rows[static_cast<std::size_t>(row)]; }

  // Coded keys [begin, begin + count) of a page, as the space of the codes has them. `buffer` holds
  // canonical_buffer().
  void decode(int row, int head, std::int64_t begin, int count, std::uint8_t* buffer, float* rows) const {
    const VectorQuantizer& keys = *cache->methods.keys;
    const CanonicalRows canonical =
        canonical_rows(*cache, row_of(row), head, Role::keys, begin, count, buffer);
    const TileDecoder& decoder = decoders[static_cast<std::size_t>(head)];
    decoder.decode(decoder, canonical.codes, canonical.scales, count, rows);
    if (!decoder.vector_scale) return;
    const auto width = static_cast<std::size_t>(keys.head_dim());
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      f16 scale;
      std::memcpy(&scale, canonical.scales + i * keys.scale_bytes(head), sizeof(scale));
      for (std::size_t c = 0; c < width; ++c) rows[i * width + c] *= to_f32(scale);
    }
  }

  void read(int row, int head) {
    SignPlanes& to = of(row, head);
    const std::int64_t end = cache->coded(row_of(row).size);
    std::vector<std::uint8_t> buffer(canonical_buffer(*cache));
    std::vector<float> rows(kPageTokens * static_cast<std::size_t>(cache->options().head_dim));
    for (std::int64_t begin = static_cast<std::int64_t>(to.size()), next; begin < end; begin = next) {
      next = std::min(end, (begin / kPageTokens + 1) * kPageTokens);
      decode(row, head, begin, static_cast<int>(next - begin), buffer.data(), rows.data());
      to.append(rows.data(), static_cast<std::size_t>(next - begin));
    }
  }

  const CacheState* cache;
  std::uint64_t rewrites;
  std::vector<TileDecoder> decoders;  // by head
  std::vector<SignPlanes> planes;     // by row and head
};

KeySearch::KeySearch(const PackedKVCache& cache) : state_(std::make_unique<State>(*cache.state_)) {
  refresh();
}
KeySearch::~KeySearch() = default;
KeySearch::KeySearch(KeySearch&&) noexcept = default;
KeySearch& KeySearch::operator=(KeySearch&&) noexcept = default;

void KeySearch::refresh() {
  const CacheState& cache = *state_->cache;
  if (state_->rewrites != cache.rewrites) {
    for (SignPlanes& planes : state_->planes) planes.clear();
    state_->rewrites = cache.rewrites;
  }
  const int heads = cache.options().kv_heads;
  cache.pool->parallel_for(state_->planes.size(), [&](std::size_t i, int) {
    state_->read(static_cast<int>(i) / heads, static_cast<int>(i) % heads);
  });
}

SearchResult KeySearch::search(int row, int head, const Tensor& query, const SearchOptions& options) const {
  check_options(options);
  const CacheState& cache = *state_->cache;
  const KVCacheOptions& o = cache.options();
  if (row < 0 || row >= o.batch || head < 0 || head >= o.kv_heads) {
    throw ShapeError(kOperation, fmt::format("row {}, KV head {} of a cache of {} rows and {} KV heads", row,
                                             head, o.batch, o.kv_heads));
  }
  const CacheRow& tokens = state_->row_of(row);
  const SignPlanes& planes = state_->of(row, head);
  if (state_->rewrites != cache.rewrites ||
      static_cast<std::int64_t>(planes.size()) != cache.coded(tokens.size))
    throw ConfigError(kOperation, "the cache has changed since the last refresh(); call it before searching");

  const Tensor checked = checked_query(query, o.head_dim);
  const float* q = checked.data<float>();
  const VectorQuantizer& method = *cache.methods.keys;
  const float* mean = method.centre(head);
  const double of_mean = mean == nullptr ? 0.0 : dot(q, mean, o.head_dim);
  std::vector<float> rotated(static_cast<std::size_t>(o.head_dim)), key(rotated.size());
  method.transform(head)->apply_query_row(q, rotated.data());
  const SignQuery signs(rotated.data(), o.head_dim);
  const float width = options.eps0 * static_cast<float>(signs.norm());

  const auto is_exact = [&](std::int64_t t) { return t < o.sinks || t >= tokens.recent_begin; };
  std::vector<Estimate> estimates(static_cast<std::size_t>(tokens.size));
  for (std::int64_t t = 0; t < tokens.size; ++t) {
    Estimate& estimate = estimates[static_cast<std::size_t>(t)];
    if (is_exact(t)) {
      estimate.value = static_cast<float>(dot(q, tokens.exact.keys(head, t), o.head_dim));
      continue;
    }
    const auto i = static_cast<std::size_t>(cache.coded(t));
    estimate = {static_cast<float>(of_mean) + planes.factor(i) * signs.product(planes.signs(i)),
                width * planes.margin(i)};
  }
  std::vector<std::uint8_t> buffer(canonical_buffer(cache));
  std::int64_t exact = 0;
  SearchResult result = best_of(estimates, options.top_k, [&](std::size_t i) {
    const auto t = static_cast<std::int64_t>(i);
    if (is_exact(t)) {
      ++exact;
      return estimates[i].value;
    }
    state_->decode(row, head, cache.coded(t), 1, buffer.data(), key.data());
    return static_cast<float>(of_mean + dot(rotated.data(), key.data(), o.head_dim));
  });
  result.reranked -= exact;
  return result;
}

std::size_t KeySearch::nbytes() const noexcept {
  std::size_t bytes = sizeof(State) + state_->planes.capacity() * sizeof(SignPlanes);
  for (const SignPlanes& planes : state_->planes) bytes += planes.nbytes();
  return bytes;
}

}  // namespace veloxquant
