// state(): the history as floats.

#include <array>
#include <cstring>
#include <vector>

#include "cache/cache_state.hpp"
#include "core/input.hpp"

namespace veloxquant {
namespace {

// Tokens [begin, end) of one (row, head), all coded in one page or all exact.
struct DecodingItem {
  int row, head;
  std::int64_t begin, end;
};

// Decodes keys or values of the item to out [head_dim] rows.
void decode(const CacheState& cache, const DecodingItem& item, Role role, float* out) {
  const CacheRow& row = cache.rows[static_cast<std::size_t>(item.row)];
  const auto width = static_cast<std::size_t>(cache.options().head_dim);
  if (item.begin < cache.options().sinks || item.begin >= row.recent_begin) {
    for (std::int64_t t = item.begin; t < item.end; ++t, out += width) {
      const float* from = role == Role::keys ? row.exact.keys(item.head, t) : row.exact.values(item.head, t);
      std::memcpy(out, from, width * sizeof(float));
    }
    return;
  }
  const std::int64_t coded = cache.coded(item.begin);
  const auto count = static_cast<std::size_t>(item.end - item.begin);
  std::vector<std::uint8_t> buffer(canonical_buffer(cache));
  const CanonicalRows rows =
      canonical_rows(cache, row, item.head, role, coded, static_cast<int>(count), buffer.data());
  if (role == Role::keys) {
    std::array<TokenPlace, kPageTokens> places;
    cache.key_places(row, coded, {places.data(), count});
    cache.methods.keys->decode_rows_at(rows.codes, rows.scales, places.data(), count, item.head, out);
  } else {
    cache.methods.values->decode_rows(rows.codes, rows.scales, count, item.head, out);
  }
}

std::vector<DecodingItem> decoding_items(const CacheState& cache) {
  std::vector<DecodingItem> items;
  const std::int64_t sinks = cache.options().sinks;
  for (int b = 0; b < cache.options().batch; ++b) {
    const CacheRow& row = cache.rows[static_cast<std::size_t>(b)];
    for (std::int64_t begin = 0; begin < row.size;) {
      std::int64_t end = row.size;
      if (begin < sinks) {
        end = std::min(end, sinks);
      } else if (begin < row.recent_begin) {
        end = std::min({end, row.recent_begin, begin + kPageTokens - cache.coded(begin) % kPageTokens});
      }
      for (int h = 0; h < cache.options().kv_heads; ++h) items.push_back({b, h, begin, end});
      begin = end;
    }
  }
  return items;
}

}  // namespace

std::pair<Tensor, Tensor> decode_history(const CacheState& cache) {
  const KVCacheOptions& o = cache.options();
  std::int64_t longest = 0;
  for (const CacheRow& row : cache.rows) longest = std::max(longest, row.size);
  const Shape shape{o.batch, o.kv_heads, longest, o.head_dim};
  const std::vector<DecodingItem> items = decoding_items(cache);
  const auto history = [&](Role role, DType dtype) {
    Tensor all = Tensor::zeros(shape, DType::f32);
    cache.pool->parallel_for(items.size(), [&](std::size_t i, int) {
      const DecodingItem& item = items[i];
      const std::int64_t first = (std::int64_t{item.row} * o.kv_heads + item.head) * longest + item.begin;
      decode(cache, item, role, all.data<float>() + first * o.head_dim);
    });
    return narrowed_vectors(all, dtype, "state");
  };
  Tensor keys = history(Role::keys, cache.key_dtype);
  return {std::move(keys), history(Role::values, cache.value_dtype)};
}

}  // namespace veloxquant
