// What a PackedKVCache is made of, for the files of this room that work on it.
//
// Of the tokens 0 .. size - 1 of a row, those below `sinks` and those from `recent_begin` on are read exact,
// the others as codes. Codes are made when a token arrives, also for the recent window: whether a code can
// hold a value is then found out by the append that brings it, and never by a later one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <veloxquant/cache/packed_kv_cache.hpp>

#include "cache/exact_tokens.hpp"
#include "cache/page_list.hpp"
#include "cache/page_pool.hpp"
#include "cache/position_list.hpp"
#include "cache/token_places.hpp"
#include "pack/block_layout.hpp"
#include "pack/block_order.hpp"

namespace veloxquant {

// Where the block of a KV head stands in a page, and how its bytes are laid out: as canonical rows while it
// fills, in block order once it is full. Both take the same bytes.
struct HeadBlock {
  BlockLayout layout;
  std::size_t offset;
  std::shared_ptr<const BlockOrder> keys, values;
};

// One row of the batch.
struct CacheRow {
  std::int64_t size = 0;
  std::int64_t recent_begin = 0;  // at least `sinks`; may lie beyond `size` while the row is that short
  PageList pages;
  std::int64_t packed =
      0;  // so many of the first pages are in block order: all full ones, after trim() one more
  PositionList positions;
  ExactTokens exact;
};

// Bytes of a page: the blocks of all heads.
inline std::size_t bytes_of_page(const HeldVector<HeadBlock>& blocks) noexcept {
  return blocks.back().offset + blocks.back().layout.bytes();
}

struct CacheState {
  std::shared_ptr<const KVCacheConfig> config;
  int layer = 0;
  LayerMethods methods;
  std::shared_ptr<ThreadPool> pool;
  HeldVector<HeadBlock> blocks{};                          // of a page, by head
  DType key_dtype = DType::f32, value_dtype = DType::f32;  // of the first append
  bool has_dtype = false;
  HeldVector<CacheRow> rows{};
  std::uint64_t rewrites =
      0;  // how often tokens that were there may have given way to others: trim(), load()

  const KVCacheOptions& options() const noexcept { return config->options(); }
  CacheRow empty_row() const {
    const KVCacheOptions& o = options();
    return {.size = 0,
            .recent_begin = o.sinks,
            .pages = PageList(page_bytes()),
            .packed = 0,
            .positions = {},
            .exact = ExactTokens(o.kv_heads, o.head_dim, o.sinks, o.recent)};
  }
  // Tokens of a row of `size` tokens that have codes.
  std::int64_t coded(std::int64_t size) const noexcept {
    return std::max<std::int64_t>(0, size - options().sinks);
  }
  // Places of the coded tokens of a row from `coded` on, for a method of keys with frames.
  void key_places(const CacheRow& row, std::int64_t coded, std::span<TokenPlace> places) const noexcept {
    find_token_places(methods.keys->frame(), coded, places,
                      [&](std::int64_t c) { return row.positions.at(c + options().sinks); });
  }
  // The same as ranges of tokens: cut_frames().
  template <class Cut>
  void cut_key_frames(const CacheRow& row, std::int64_t coded, std::int64_t count, const Cut& cut) const {
    cut_frames(
        methods.keys->frame(), coded, count,
        [&](std::int64_t c) { return row.positions.at(c + options().sinks); }, cut);
  }
  std::size_t page_bytes() const noexcept { return bytes_of_page(blocks); }
  const BlockLayout& layout(int head) const noexcept { return blocks[static_cast<std::size_t>(head)].layout; }
  std::size_t block_offset(int head) const noexcept { return blocks[static_cast<std::size_t>(head)].offset; }
  // The block that holds the codes of token `sinks + coded` of a head.
  std::uint8_t* block(const PageList& pages, std::int64_t coded, int head) const noexcept {
    return pages[static_cast<std::size_t>(coded / kPageTokens)] + block_offset(head);
  }
};

// Coded vectors as canonical rows.
struct CanonicalRows {
  const std::uint8_t* codes = nullptr;
  const std::uint8_t* scales = nullptr;
};
// Coded tokens [coded, coded + count) of a head, which lie in one page: where they are, or unpacked to
// `buffer`, which holds a block of the head's keys or values.
CanonicalRows canonical_rows(const CacheState& cache, const CacheRow& row, int head, Role role,
                             std::int64_t coded, int count, std::uint8_t* buffer);
// Bytes of such a buffer for any head of the cache.
std::size_t canonical_buffer(const CacheState& cache) noexcept;
// A full block of a head in block order from canonical rows (`packed` may be `rows`), and back (it may not).
void pack_block(const HeadBlock& block, const std::uint8_t* rows, std::uint8_t* packed);
void unpack_block(const HeadBlock& block, const std::uint8_t* packed, std::uint8_t* rows);

// Writes `lengths[b]` new tokens to row b; empty: all of them to every row.
void append_tokens(CacheState& cache, const Tensor& keys, const Tensor& values,
                   std::span<const std::int64_t> lengths, const Tensor& positions);
// The dequantized history.
std::pair<Tensor, Tensor> decode_history(const CacheState& cache);
Tensor attend_history(const CacheState& cache, const Tensor& queries, std::span<const std::int64_t> lengths,
                      float scale, const AttentionMask& mask);
void save_cache(const CacheState& cache, const std::filesystem::path& file);
void load_cache(CacheState& cache, const std::filesystem::path& file);

// `lengths` as given or `count` for every row; throws ShapeError unless there is one from 0 to `count` for
// each.
std::vector<std::int64_t> row_lengths(std::span<const std::int64_t> lengths, std::size_t rows,
                                      std::int64_t count, const char* operation);

// One layer's methods.
LayerMethods make_methods(const std::shared_ptr<const KVCacheConfig>& config, int layer,
                          const std::shared_ptr<const ArtifactStore>& artifacts);

struct PackedKVCache::State : CacheState {
  // Counted like all that the cache holds.
  static void* operator new(std::size_t bytes) { return take_memory(bytes); }
  static void operator delete(void* memory, std::size_t bytes) noexcept {
    give_memory(static_cast<std::byte*>(memory), bytes);
  }
};

}  // namespace veloxquant
