// Appending: check everything, code into pages that nobody reads yet, then publish without throwing.

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <vector>
#include <veloxquant/core/error.hpp>

#include "cache/cache_state.hpp"
#include "core/input.hpp"
#include "transform/head_dim.hpp"

namespace veloxquant {
namespace {

constexpr const char* kOperation = "append";

// What an append is going to write: the new vectors and, per row, how many and where they stand in the text.
struct NewTokens {
  CheckedVectors keys, values;
  std::int64_t count = 0;  // of a row that gets all
  std::vector<std::int64_t> lengths;
  std::vector<std::vector<std::int64_t>> positions;
};

CheckedVectors check_vectors(const CacheState& cache, const Tensor& x, const char* what) {
  CheckedVectors vectors(x, cache.options().head_dim, kOperation);
  const Shape& shape = x.shape();
  if (shape[0] != cache.options().batch || shape[1] != cache.options().kv_heads) {
    throw ShapeError(kOperation, fmt::format("{} of shape {}, need [{}, {}, new, {}]", what, to_string(shape),
                                             cache.options().batch, cache.options().kv_heads, shape[3]));
  }
  return vectors;
}

// Positions of the new tokens of each row, which grow along the row; by default they count on.
std::vector<std::vector<std::int64_t>> check_positions(const CacheState& cache, const Tensor& given,
                                                       std::span<const std::int64_t> lengths,
                                                       std::int64_t count) {
  std::optional<Tensor> table;
  if (given.defined()) {
    if (given.dtype() != DType::i64) {
      throw DTypeError(kOperation, fmt::format("positions are {}, need i64", to_string(given.dtype())));
    }
    const auto batch = static_cast<std::int64_t>(lengths.size());
    if (given.shape() != Shape{count} && given.shape() != Shape{batch, count}) {
      throw ShapeError(kOperation, fmt::format("positions of shape {}, need [{}] or [{}, {}]",
                                               to_string(given.shape()), count, batch, count));
    }
    table = given.contiguous();
  }
  std::vector<std::vector<std::int64_t>> positions(lengths.size());
  for (std::size_t b = 0; b < lengths.size(); ++b) {
    std::int64_t next = cache.rows[b].positions.next(cache.rows[b].size);
    positions[b].reserve(static_cast<std::size_t>(lengths[b]));
    const std::int64_t* row = nullptr;
    if (table)
      row = table->data<std::int64_t>() + (table->rank() == 2 ? static_cast<std::int64_t>(b) * count : 0);
    for (std::int64_t i = 0; i < lengths[b]; ++i) {
      const std::int64_t position = row != nullptr ? row[i] : next;
      if (position < next || position >= kPositionLimit) {
        throw ConfigError(kOperation,
                          fmt::format("position {} of new token {} in row {}, must be at least {} and below "
                                      "{}: positions grow along a row",
                                      position, i, b, next, kPositionLimit));
      }
      positions[b].push_back(position);
      next = position + 1;
    }
  }
  return positions;
}

NewTokens check_input(const CacheState& cache, const Tensor& keys, const Tensor& values,
                      std::span<const std::int64_t> lengths, const Tensor& positions) {
  NewTokens input;
  input.keys = check_vectors(cache, keys, "keys");
  input.values = values.defined() ? check_vectors(cache, values, "values") : input.keys;
  if (values.defined() && values.shape() != keys.shape()) {
    throw ShapeError(kOperation, fmt::format("values of shape {} beside keys of shape {}; they must be equal",
                                             to_string(values.shape()), to_string(keys.shape())));
  }
  input.count = keys.dim(2);
  input.lengths = row_lengths(lengths, cache.rows.size(), input.count, kOperation);
  input.positions = check_positions(cache, positions, input.lengths, input.count);
  return input;
}

// The pages that an append writes to, in one row. A last page that is partly filled, in row order and not
// shared is written in place, behind what is read; every other page is in `fresh` until it is published. A
// page that is full then is packed where it is if it is fresh; of one in place, which may be read until then,
// the packed blocks wait in `filled`.
struct StagedPages {
  std::size_t begin;                   // index in the row's list of targets[0]
  std::vector<std::uint8_t*> targets;  // of pages begin, begin + 1, ... of the row
  PageList fresh;                      // in the order of the targets
  HeldVector<std::uint8_t> filled;     // targets[0] in block order, if it is in place and gets full
};

StagedPages stage_pages(const CacheState& cache, const CacheRow& row, std::int64_t length) {
  const std::int64_t coded = cache.coded(row.size), coded_after = cache.coded(row.size + length);
  StagedPages staged{.begin = static_cast<std::size_t>(coded / kPageTokens),
                     .targets = {},
                     .fresh = PageList(cache.page_bytes()),
                     .filled = {}};
  if (coded == coded_after) return staged;
  const auto end = static_cast<std::size_t>(pages_for(coded_after));
  for (std::size_t i = staged.begin; i < end; ++i) {
    const bool exists = i < row.pages.size();
    const auto page = static_cast<std::int64_t>(i);
    const bool packed = page < row.packed;
    const bool in_place = exists && !row.pages.shared(i) && !packed;
    staged.targets.push_back(
        in_place ? row.pages[i]
                 : staged.fresh.add_for(row.pages, i, exists && !packed ? row.pages[i] : nullptr));
    if (in_place && page < coded_after / kPageTokens) staged.filled.resize(cache.page_bytes());
    if (!packed) continue;
    for (const HeadBlock& block : cache.blocks)
      unpack_block(block, row.pages[i] + block.offset, staged.targets.back() + block.offset);
  }
  return staged;
}

void publish_pages(PageList& pages, StagedPages& staged) noexcept {
  if (!staged.filled.empty()) std::memcpy(staged.targets[0], staged.filled.data(), staged.filled.size());
  std::size_t next = 0;
  for (std::size_t i = 0; i < staged.targets.size(); ++i) {
    const std::size_t index = staged.begin + i;
    if (index >= pages.size()) {
      pages.adopt(staged.fresh, next++);
    } else if (pages[index] != staged.targets[i]) {
      pages.exchange(index, staged.fresh, next++);
    }
  }
}

// New tokens [token, token + count) of a row go to the slots from `slot` on of one page, for some of the
// heads.
struct CodingItem {
  int row, head, heads;
  std::int64_t token;
  int slot, count;
  std::uint8_t* page;
  std::uint8_t* packed;  // where the page goes in block order once it is full
};

// Single tokens of several heads are coded together, by as many items as there are threads.
int heads_of_item(const CacheState& cache, const NewTokens& input) {
  const bool single = input.count == 1 && cache.methods.keys->frame() == 0;
  const int heads = cache.options().kv_heads, threads = cache.pool->threads();
  return single ? (heads + threads - 1) / threads : 1;
}

std::vector<CodingItem> coding_items(const CacheState& cache, const NewTokens& input,
                                     std::span<StagedPages> staged) {
  std::vector<CodingItem> items;
  const int heads = cache.options().kv_heads, step = heads_of_item(cache, input);
  for (std::size_t b = 0; b < staged.size(); ++b) {
    const std::int64_t size = cache.rows[b].size;
    std::int64_t token = std::max<std::int64_t>(0, cache.options().sinks - size);  // before it: new sinks
    for (std::size_t target = 0; token < input.lengths[b]; ++target) {
      const auto slot = static_cast<int>(cache.coded(size + token) % kPageTokens);
      const auto count =
          static_cast<int>(std::min<std::int64_t>(kPageTokens - slot, input.lengths[b] - token));
      std::uint8_t* page = staged[b].targets[target];
      const bool apart = target == 0 && !staged[b].filled.empty();
      for (int h = 0; h < heads; h += step) {
        items.push_back({static_cast<int>(b), h, std::min(step, heads - h), token, slot, count, page,
                         apart ? staged[b].filled.data() : page});
      }
      token += count;
    }
  }
  return items;
}

// Positions of new tokens are not in the row yet.
void find_key_places(const CacheState& cache, const NewTokens& input, const CodingItem& item,
                     std::span<TokenPlace> places) {
  const std::int64_t frame = cache.methods.keys->frame();
  const CacheRow& row = cache.rows[static_cast<std::size_t>(item.row)];
  const std::vector<std::int64_t>& fresh = input.positions[static_cast<std::size_t>(item.row)];
  find_token_places(frame, cache.coded(row.size + item.token), places, [&](std::int64_t coded) {
    const std::int64_t token = coded + cache.options().sinks;
    return token < row.size ? row.positions.at(token) : fresh[static_cast<std::size_t>(token - row.size)];
  });
}

void code_head(const CacheState& cache, const NewTokens& input, const CodingItem& item) {
  const BlockLayout& layout = cache.layout(item.head);
  std::uint8_t* block = item.page + cache.block_offset(item.head);
  const auto slot = static_cast<std::size_t>(item.slot), count = static_cast<std::size_t>(item.count);
  std::array<TokenPlace, kPageTokens> places;
  find_key_places(cache, input, item, {places.data(), count});
  cache.methods.keys->encode_rows_at(input.keys.at(item.row, item.head, item.token), places.data(), count,
                                     item.head, block + layout.key_codes(slot),
                                     block + layout.key_scales(slot));
  std::array<std::uint8_t, kPageTokens> gains;
  const bool shared = layout.shares_gains();
  cache.methods.values->encode_rows(input.values.at(item.row, item.head, item.token), count, item.head,
                                    block + layout.value_codes(slot),
                                    shared ? gains.data() : block + layout.value_scales(slot));
  std::uint8_t* keys = block + layout.key_scales(slot);
  for (std::size_t i = 0; shared && i < count; ++i) keys[i] = shared_gains(keys[i], gains[i]);
}

// The vectors of a token for `heads` heads from `head` on, one after the other: where they are, or gathered.
const float* vectors_of(const CheckedVectors& x, const CodingItem& item, int head, int heads, int dim,
                        float* gathered) {
  if (heads == 1 || x.head_stride() == dim) return x.at(item.row, head, item.token);
  for (int i = 0; i < heads; ++i) std::copy_n(x.at(item.row, head + i, item.token), dim, gathered + i * dim);
  return gathered;
}

// One token of several heads.
void code_token(const CacheState& cache, const NewTokens& input, const CodingItem& item) {
  constexpr int kTogether = 16;
  const int dim = cache.options().head_dim;
  float gathered[kMaxHeadDim];
  const auto slot = static_cast<std::size_t>(item.slot);
  for (int h = item.head, end = h + item.heads, here; h < end; h += here) {
    here = std::min({kTogether, std::max(1, kMaxHeadDim / dim), end - h});
    std::array<std::uint8_t*, kTogether> key_codes, key_scales, value_codes, value_scales;
    std::array<std::uint8_t, kTogether> gains;
    for (int i = 0; i < here; ++i) {
      const BlockLayout& layout = cache.layout(h + i);
      std::uint8_t* block = item.page + cache.block_offset(h + i);
      const auto at = static_cast<std::size_t>(i);
      key_codes[at] = block + layout.key_codes(slot);
      key_scales[at] = block + layout.key_scales(slot);
      value_codes[at] = block + layout.value_codes(slot);
      value_scales[at] = layout.shares_gains() ? &gains[at] : block + layout.value_scales(slot);
    }
    cache.methods.keys->encode_heads(vectors_of(input.keys, item, h, here, dim, gathered), h, here,
                                     key_codes.data(), key_scales.data());
    cache.methods.values->encode_heads(vectors_of(input.values, item, h, here, dim, gathered), h, here,
                                       value_codes.data(), value_scales.data());
    for (std::size_t i = 0; i < static_cast<std::size_t>(here); ++i) {
      if (value_scales[i] == &gains[i]) *key_scales[i] = shared_gains(*key_scales[i], gains[i]);
    }
  }
}

void code(const CacheState& cache, const NewTokens& input, const CodingItem& item) {
  item.heads > 1 ? code_token(cache, input, item) : code_head(cache, input, item);
  if (item.slot + item.count < kPageTokens) return;
  for (int h = item.head; h < item.head + item.heads; ++h) {
    const std::size_t offset = cache.block_offset(h);
    pack_block(cache.blocks[static_cast<std::size_t>(h)], item.page + offset, item.packed + offset);
  }
}

// Copies those of the new tokens that are to be read exact: sinks, and what lies in the window afterwards.
void publish_exact(const CacheState& cache, CacheRow& row, int b, const NewTokens& input) noexcept {
  const KVCacheOptions& o = cache.options();
  const std::size_t bytes = static_cast<std::size_t>(o.head_dim) * sizeof(float);
  const std::int64_t size_after = row.size + input.lengths[static_cast<std::size_t>(b)];
  for (std::int64_t token = row.size; token < size_after; ++token) {
    if (token >= o.sinks && token < row.recent_begin) token = std::min(row.recent_begin, size_after);
    if (token == size_after) break;
    for (int h = 0; h < o.kv_heads; ++h) {
      std::memcpy(row.exact.keys(h, token), input.keys.at(b, h, token - row.size), bytes);
      std::memcpy(row.exact.values(h, token), input.values.at(b, h, token - row.size), bytes);
    }
  }
}

}  // namespace

std::vector<std::int64_t> row_lengths(std::span<const std::int64_t> lengths, std::size_t rows,
                                      std::int64_t count, const char* operation) {
  if (lengths.empty()) return std::vector<std::int64_t>(rows, count);
  if (lengths.size() != rows) {
    throw ShapeError(operation, fmt::format("{} lengths for {} rows", lengths.size(), rows));
  }
  for (std::size_t b = 0; b < rows; ++b) {
    if (lengths[b] < 0 || lengths[b] > count) {
      throw ShapeError(operation,
                       fmt::format("length {} of row {}, must be from 0 to {}", lengths[b], b, count));
    }
  }
  return {lengths.begin(), lengths.end()};
}

void append_tokens(CacheState& cache, const Tensor& keys, const Tensor& values,
                   std::span<const std::int64_t> lengths, const Tensor& positions) {
  const NewTokens input = check_input(cache, keys, values, lengths, positions);

  std::vector<StagedPages> staged;
  staged.reserve(cache.rows.size());
  for (std::size_t b = 0; b < cache.rows.size(); ++b) {
    staged.push_back(stage_pages(cache, cache.rows[b], input.lengths[b]));
  }
  const std::vector<CodingItem> items = coding_items(cache, input, staged);
  cache.pool->parallel_for(items.size(), [&](std::size_t i, int) { code(cache, input, items[i]); });
  for (std::size_t b = 0; b < cache.rows.size(); ++b) {
    cache.rows[b].pages.reserve(staged[b].begin + staged[b].targets.size());
    cache.rows[b].positions.reserve(cache.rows[b].size, input.positions[b]);
  }

  // Nothing throws from here on.
  for (std::size_t b = 0; b < cache.rows.size(); ++b) {
    CacheRow& row = cache.rows[b];
    row.recent_begin = std::max(row.recent_begin, row.size + input.lengths[b] - cache.options().recent);
    publish_pages(row.pages, staged[b]);
    // Without new codes a page that trim() has left in block order stays so.
    if (!staged[b].targets.empty()) row.packed = cache.coded(row.size + input.lengths[b]) / kPageTokens;
    publish_exact(cache, row, static_cast<int>(b), input);
    row.positions.append(row.size, input.positions[b]);
    row.size += input.lengths[b];
  }
  if (!cache.has_dtype) {
    cache.has_dtype = true;
    cache.key_dtype = keys.dtype();
    cache.value_dtype = values.defined() ? values.dtype() : keys.dtype();
  }
}

}  // namespace veloxquant
