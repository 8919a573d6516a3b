#include "cache/attend_plan.hpp"

#include <algorithm>

namespace veloxquant {
namespace {

constexpr int kTileRows = 256;  // rows that keep the kernels at the speed of matrix products
// With keys in frames: to decode a block costs as much as 80 rows take to attend to it.
constexpr int kFramedTileRows = 1024;
constexpr int kTileTokens = 32;             // new tokens that share what is unpacked, at least
constexpr std::int64_t kPartTokens = 1024;  // shortest piece worth a thread's attention
constexpr std::size_t kEnoughTiles = 64;    // with so many no range is cut

int tokens_per_tile(int group, int rows) { return std::max(kTileTokens, rows / group); }

HistoryRange intersection(HistoryRange a, HistoryRange b) {
  return {std::max(a.begin, b.begin), std::min(a.end, b.end)};
}

// Adds the range in `pieces` parts or fewer, cut at multiples of a page from its begin.
void add_parts(AttendPlan& plan, HistoryRange range, std::size_t pieces) {
  const std::int64_t length = range.end - range.begin;
  if (length <= 0) return;
  const std::int64_t count =
      std::clamp<std::int64_t>(length / kPartTokens, 1, static_cast<std::int64_t>(pieces));
  const std::int64_t step = pages_for((length + count - 1) / count) * kPageTokens;
  plan.split = plan.split || length > step;
  for (std::int64_t begin = range.begin; begin < range.end; begin += step) {
    plan.parts.push_back({plan.tiles.size() - 1, {begin, std::min(begin + step, range.end)}});
  }
}

}  // namespace

HistoryRange visible(std::int64_t size, std::int64_t length, std::int64_t token,
                     const AttentionMask& mask) noexcept {
  if (!mask.causal) return {0, size};
  const std::int64_t index = size - length + token;
  return {mask.window > 0 ? std::max<std::int64_t>(0, index + 1 - mask.window) : 0, index + 1};
}

AttendPlan plan_attention(const CacheState& cache, std::span<const std::int64_t> lengths, int group,
                          const AttentionMask& mask) {
  const KVCacheOptions& o = cache.options();
  const bool framed = cache.methods.keys->frame() > 0;
  const int step = tokens_per_tile(group, framed ? kFramedTileRows : kTileRows);
  std::size_t tiles = 0;
  for (const std::int64_t length : lengths)
    tiles += static_cast<std::size_t>((length + step - 1) / step * o.kv_heads);
  const std::size_t pieces = tiles == 0 ? 1 : (kEnoughTiles + tiles - 1) / tiles;

  AttendPlan plan;
  plan.tiles.reserve(tiles);
  for (std::size_t b = 0; b < lengths.size(); ++b) {
    const CacheRow& row = cache.rows[b];
    for (std::int64_t first = 0; first < lengths[b]; first += step) {
      const auto tokens = static_cast<int>(std::min<std::int64_t>(step, lengths[b] - first));
      const HistoryRange seen{visible(row.size, lengths[b], first, mask).begin,
                              visible(row.size, lengths[b], first + tokens - 1, mask).end};
      const HistoryRange sinks = intersection(seen, {0, o.sinks});
      HistoryRange codes = intersection(seen, {o.sinks, row.recent_begin});
      // From a page's begin on: kernels like full tiles.
      if (codes.begin < codes.end) codes.begin -= cache.coded(codes.begin) % kPageTokens;
      const HistoryRange recent = intersection(seen, {row.recent_begin, row.size});
      for (int h = 0; h < o.kv_heads; ++h) {
        AttendTile& tile = plan.tiles.emplace_back(AttendTile{.row = static_cast<int>(b),
                                                              .head = h,
                                                              .first = first,
                                                              .tokens = tokens,
                                                              .rows = tokens * group,
                                                              .coded_begin = plan.parts.size()});
        add_parts(plan, codes, pieces);
        tile.exact_begin = plan.parts.size();
        add_parts(plan, sinks, pieces);
        add_parts(plan, recent, pieces);
        tile.end = plan.parts.size();
      }
    }
  }
  return plan;
}

}  // namespace veloxquant
