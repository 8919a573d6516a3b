// How one attend() is cut into pieces of work, from sizes alone: the plan, and with it every rounding, is the
// same for any number of threads.
//
// A tile is a group of queries of one KV head: all query heads of the group times some consecutive new
// tokens, so that what is unpacked is used by all of them. What a tile sees of the history falls into ranges:
// sinks (exact), codes, recent window (exact). When there are few tiles, as in decoding, long ranges are cut
// so that threads can share them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <veloxquant/attention/mask.hpp>

#include "cache/cache_state.hpp"

namespace veloxquant {

// Tokens [begin, end) of the history.
struct HistoryRange {
  std::int64_t begin = 0, end = 0;
};

struct AttendTile {
  int row = 0, head = 0;
  std::int64_t first = 0;  // new token of the tile's first query
  int tokens = 0;          // new tokens
  int rows = 0;            // tokens * query heads of the group; row = token * group + query head
  std::size_t coded_begin = 0, exact_begin = 0, end = 0;  // its parts: coded ones, then exact ones
};

// A range that is computed in one piece.
struct AttendPart {
  std::size_t tile;
  HistoryRange range;
};

struct AttendPlan {
  std::vector<AttendTile> tiles;
  std::vector<AttendPart> parts;  // by tile
  bool split = false;             // some range was cut
};

AttendPlan plan_attention(const CacheState& cache, std::span<const std::int64_t> lengths, int group,
                          const AttentionMask& mask);

// What query `token` of `length` new ones sees of a row of `size` tokens.
HistoryRange visible(std::int64_t size, std::int64_t length, std::int64_t token,
                     const AttentionMask& mask) noexcept;

}  // namespace veloxquant
