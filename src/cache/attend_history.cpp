// attend(): queries against the history as it is stored.
//
// A tile's queries are transformed once, its parts give partial softmax sums, and the sum over the coded
// parts is transformed back once per query:
//
//     score(j) = <T_k q, code_k(j)> + <q, centre_k>            coded tokens
//     out      = (T_v^-1 sum_j w_j code_v(j) + W centre_v  +  sum_exact w_j v_j) / (W + W_exact)
//     W        = sum_j w_j
//
// Tiles of prefill are computed from first to last by one thread each; the parts of few tiles (decoding) are
// shared out and merged in their order afterwards. Both do the same operations in the same order.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>
#include <veloxquant/core/error.hpp>

#include "attention/attend.hpp"
#include "attention/attend_blocks.hpp"
#include "attention/attend_run.hpp"
#include "cache/attend_plan.hpp"
#include "cache/cache_state.hpp"
#include "cache/coded_side.hpp"
#include "core/input.hpp"

namespace veloxquant {
namespace {

constexpr const char* kOperation = "attend";
// Runs that are there at a time: the one at hand and the next (RunSource).
constexpr std::size_t kRunsAtOnce = 2;

// Working memory of a thread, kept between calls so that decoding does not allocate.
struct ThreadScratch {
  AttendScratch kernel, tile, merge, whole, shared;
  std::vector<TokenPlace> places;  // of the runs at hand, for keys whose method has frames
  std::vector<std::uint8_t> rows;  // of the runs at hand, of blocks that are not read as they are
};
thread_local ThreadScratch scratch;

std::size_t aligned(std::size_t floats) { return (floats + 15) / 16 * 16; }

// One tile in working memory: its queries, what they see, and the partial sums of its parts.
class TileMemory {
 public:
  static std::size_t floats(const AttendTile& tile, int head_dim) {
    const auto rows = static_cast<std::size_t>(tile.rows), width = static_cast<std::size_t>(head_dim);
    return 2 * aligned(rows * width) + aligned(rows) + 2 * aligned(2 * rows) +
           (tile.end - tile.coded_begin) * partial_floats(rows, width);
  }
  TileMemory(const AttendTile& tile, int head_dim, float* memory)
      : rows_(static_cast<std::size_t>(tile.rows)), width_(static_cast<std::size_t>(head_dim)) {
    const auto take = [&memory](std::size_t count) { return std::exchange(memory, memory + aligned(count)); };
    queries = take(rows_ * width_);
    coded_queries = take(rows_ * width_);
    key_offset = take(rows_);
    begin = reinterpret_cast<std::int64_t*>(take(2 * rows_));
    end = reinterpret_cast<std::int64_t*>(take(2 * rows_));
    partials_ = memory;
  }
  // Of the tile's part `index`, counted from its first.
  AttendPartial partial(std::size_t index) const {
    return partial_at(partials_ + index * partial_floats(rows_, width_), rows_);
  }
  static std::size_t partial_floats(std::size_t rows, std::size_t width) {
    return 2 * aligned(rows) + aligned(rows * width);
  }
  static AttendPartial partial_at(float* memory, std::size_t rows) {
    return {.max = memory, .sum = memory + aligned(rows), .out = memory + 2 * aligned(rows)};
  }

  float *queries, *coded_queries, *key_offset;
  std::int64_t *begin, *end;

 private:
  std::size_t rows_, width_;
  float* partials_;
};

class Attention {
 public:
  Attention(const CacheState& cache, Tensor queries, std::vector<std::int64_t> lengths, float scale,
            const AttentionMask& mask)
      : cache_(cache),
        queries_(std::move(queries)),
        lengths_(std::move(lengths)),
        scale_(scale),
        mask_(mask),
        head_dim_(cache.options().head_dim),
        group_(static_cast<int>(queries_.dim(1)) / cache.options().kv_heads),
        kernels_(cache.methods.kernels->current()
                     ? cache.methods.kernels
                     : std::make_shared<const LayerKernels>(cache.methods, cache.options().kv_heads)),
        keys_(kernels_->keys),
        values_(kernels_->values),
        exact_(tile_decoder(
            CodeSpec{.kind = CodeKind::f32, .bits = 32, .head_dim = head_dim_, .group = 0, .table = {}})),
        plan_(plan_attention(cache, lengths_, group_, mask)) {}

  Tensor run() {
    const bool all =
        std::all_of(lengths_.begin(), lengths_.end(), [&](std::int64_t n) { return n == queries_.dim(2); });
    out_ = all ? Tensor::empty(queries_.shape(), DType::f32) : Tensor::zeros(queries_.shape(), DType::f32);
    if (plan_.split && cache_.pool->threads() > 1) {
      run_parts();
    } else {
      run_tiles();
    }
    return out_;
  }

 private:
  // Every tile from first to last on one thread; the longest, which are the last of a row, are begun first.
  void run_tiles() {
    cache_.pool->parallel_for(plan_.tiles.size(), [&](std::size_t item, int) {
      const AttendTile& tile = plan_.tiles[plan_.tiles.size() - 1 - item];
      const TileMemory memory(tile, head_dim_, scratch.tile.reserve(TileMemory::floats(tile, head_dim_)));
      prepare(tile, memory);
      for (std::size_t p = tile.coded_begin; p < tile.end; ++p) run_part(tile, p, memory);
      finish(tile, memory);
    });
  }

  // All tiles in memory at once, and their parts on any thread.
  void run_parts() {
    std::vector<std::size_t> offsets;
    std::size_t floats = 0;
    for (const AttendTile& tile : plan_.tiles) {
      offsets.push_back(floats);
      floats += TileMemory::floats(tile, head_dim_);
    }
    float* memory = scratch.shared.reserve(floats);
    const auto tile_memory = [&](std::size_t t) {
      return TileMemory(plan_.tiles[t], head_dim_, memory + offsets[t]);
    };
    cache_.pool->parallel_for(plan_.tiles.size(),
                              [&](std::size_t t, int) { prepare(plan_.tiles[t], tile_memory(t)); });
    cache_.pool->parallel_for(plan_.parts.size(), [&](std::size_t p, int) {
      const std::size_t t = plan_.parts[p].tile;
      run_part(plan_.tiles[t], p, tile_memory(t));
    });
    cache_.pool->parallel_for(plan_.tiles.size(),
                              [&](std::size_t t, int) { finish(plan_.tiles[t], tile_memory(t)); });
  }

  std::size_t vector_offset(const AttendTile& tile, int row) const {
    const std::int64_t query_head = std::int64_t{tile.head} * group_ + row % group_;
    const std::int64_t token = tile.first + row / group_;
    return static_cast<std::size_t>(((tile.row * queries_.dim(1) + query_head) * queries_.dim(2) + token) *
                                    head_dim_);
  }

  // Gathers the tile's queries, transforms them, and notes what each sees.
  void prepare(const AttendTile& tile, const TileMemory& memory) const {
    const auto width = static_cast<std::size_t>(head_dim_);
    const std::int64_t size = cache_.rows[static_cast<std::size_t>(tile.row)].size;
    const float* centre = keys_.centre(tile.head);
    for (int r = 0; r < tile.rows; ++r) {
      const float* query = queries_.data<float>() + vector_offset(tile, r);
      const std::size_t at = static_cast<std::size_t>(r) * width;
      std::memcpy(memory.queries + at, query, width * sizeof(float));
      if (const RowTransform* transform = keys_.transform(tile.head))
        transform->apply_query_row(query, memory.coded_queries + at);
      if (centre != nullptr) {
        double offset = 0;
        for (std::size_t c = 0; c < width; ++c)
          offset += static_cast<double>(query[c]) * static_cast<double>(centre[c]);
        memory.key_offset[r] = static_cast<float>(offset);
      }
      const HistoryRange seen =
          visible(size, lengths_[static_cast<std::size_t>(tile.row)], tile.first + r / group_, mask_);
      memory.begin[r] = seen.begin;
      memory.end[r] = seen.end;
    }
  }

  void run_part(const AttendTile& tile, std::size_t part, const TileMemory& memory) const {
    const bool coded = part < tile.exact_begin;
    const AttendQuery query{
        .rows = tile.rows,
        .head_dim = head_dim_,
        .queries = coded && keys_.transform(tile.head) != nullptr ? memory.coded_queries : memory.queries,
        .key_offset = coded && keys_.centre(tile.head) != nullptr ? memory.key_offset : nullptr,
        .scale = scale_,
        .begin = memory.begin,
        .end = memory.end};
    const AttendPartial sum = memory.partial(part - tile.coded_begin);
    HistoryRange range = plan_.parts[part].range;
    bool first = true;
    const KeyKernel& key_kernel = keys_.key_kernel(tile.head);
    const ValueKernel& value_kernel = values_.value_kernel(tile.head);
    if (coded && key_kernel.scores != nullptr && value_kernel.add != nullptr &&
        tile.rows <= most_rows(tile.head)) {
      const std::int64_t blocks_end = std::min(range.end, blocks_end_of(tile));
      if (range.begin < blocks_end) {
        attend_packed(tile, {range.begin, blocks_end}, query, sum);
        first = false;
        range.begin = blocks_end;
      }
    }
    attend_tiles(tile, range, coded, first, query, sum);
  }

  // With more rows a block had better be decoded once for all of them. To turn and project queries for every frame
  // costs as much for a row as a token's decoding.
  int most_rows(int head) const {
    if (keys_.decodes_keys(head)) return kKernelRows;
    const int kernels = std::min(keys_.key_kernel(head).most_rows, values_.value_kernel(head).most_rows);
    return keys_.basis(head) != nullptr ? std::min(kernels, kRowsBeforeTiles) : kernels;
  }

  // The history index behind the last token of a row's packed blocks.
  std::int64_t blocks_end_of(const AttendTile& tile) const {
    const CacheRow& row = cache_.rows[static_cast<std::size_t>(tile.row)];
    return cache_.options().sinks + row.packed * kPageTokens;
  }

  // Packed blocks as they are, by as many rows at a time as the kernels take: with integer kernels that is
  // faster for 256 rows, too, than decoding a block once for all of them (2 to 5 against 6 ns a token and
  // row). `range` begins with a block.
  void attend_packed(const AttendTile& tile, HistoryRange range, const AttendQuery& query,
                     const AttendPartial& sum) const {
    const CacheRow& row = cache_.rows[static_cast<std::size_t>(tile.row)];
    const HeadBlock& block = cache_.blocks[static_cast<std::size_t>(tile.head)];
    const std::int64_t page = cache_.coded(range.begin) / kPageTokens;
    const BlockRange blocks{.pages = row.pages.data() + page,
                            .keys = block.offset + block.layout.key_codes(0),
                            .values = block.offset + block.layout.value_codes(0),
                            .shared_gains = block.layout.shares_gains(),
                            .count = static_cast<int>(pages_for(range.end - range.begin)),
                            .first = range.begin};
    FramedKeys framed{.basis = keys_.basis(tile.head), .products = keys_.products(tile.head), .cut = {}};
    if (keys_.decodes_keys(tile.head)) framed.basis = nullptr;
    if (framed.basis != nullptr) {
      framed.cut = [&](int index, std::vector<FrameCut>& cuts) {
        // After a trim the last block holds tokens that the row has no more.
        const std::int64_t first = (page + index) * kPageTokens;
        const std::int64_t count = std::min<std::int64_t>(kPageTokens, cache_.coded(row.size) - first);
        cache_.cut_key_frames(row, first, count, [&](std::int64_t token, std::int64_t end, TokenPlace place) {
          cuts.push_back({static_cast<int>(token - first), static_cast<int>(end - first), place.frame_start,
                          place.position - place.frame_start});
        });
      };
    }
    DecodedKeys decoded{.codes = keys_.decodes_keys(tile.head) ? keys_.code_spec(tile.head) : nullptr,
                        .rows = {},
                        .turned = keys_.turned(tile.head),
                        .start = {}};
    if (decoded.codes != nullptr) {
      decoded.rows = [&](int index, float* rows) { decode_keys(tile, page + index, rows); };
      decoded.start = [&](int index) { return first_position(row, page + index); };
    }
    const CodedBasis* values = values_.basis(tile.head);
    for (int first = 0; first < query.rows; first += kKernelRows) {
      // The last block may hold more tokens than are read as codes.
      std::array<std::int64_t, kKernelRows> ends;
      AttendQuery some = query;
      some.rows = std::min(kKernelRows, query.rows - first);
      for (int r = 0; r < some.rows; ++r)
        ends[static_cast<std::size_t>(r)] = std::min(query.end[first + r], range.end);
      const std::size_t width = static_cast<std::size_t>(head_dim_),
                        skipped = static_cast<std::size_t>(first) * width;
      some.queries += skipped;
      if (some.key_offset != nullptr) some.key_offset += first;
      some.begin += first;
      some.end = ends.data();
      AttendPartial part{.max = sum.max + first, .sum = sum.sum + first, .out = sum.out + skipped};
      if (values != nullptr) part.out = scratch.merge.reserve(kKernelRows * width);
      attend_blocks(keys_.key_kernel(tile.head), values_.value_kernel(tile.head), blocks, some, part,
                    scratch.kernel, framed.basis != nullptr ? &framed : nullptr,
                    decoded.codes != nullptr ? &decoded : nullptr);
      if (values != nullptr)
        values->restore_sums(part.out, part.sum, static_cast<std::size_t>(some.rows), sum.out + skipped);
    }
  }

  // Of a page whose positions follow each other, the first one; -1 of another.
  std::int64_t first_position(const CacheRow& row, std::int64_t page) const {
    const std::int64_t first = page * kPageTokens;
    const std::int64_t count = std::min<std::int64_t>(kPageTokens, cache_.coded(row.size) - first);
    const std::int64_t start = row.positions.at(first + cache_.options().sinks);
    const std::int64_t last = row.positions.at(first + count - 1 + cache_.options().sinks);
    return last - start == count - 1 ? start : -1;
  }

  // The keys of a page in the space of the input; zeros for tokens that the row has no more.
  void decode_keys(const AttendTile& tile, std::int64_t page, float* rows) const {
    const CacheRow& row = cache_.rows[static_cast<std::size_t>(tile.row)];
    const std::int64_t first = page * kPageTokens;
    const auto count = static_cast<int>(std::min<std::int64_t>(kPageTokens, cache_.coded(row.size) - first));
    scratch.rows.resize(2 * kRunsAtOnce * canonical_buffer(cache_));
    scratch.places.resize(kRunsAtOnce * kPageTokens);
    cache_.key_places(row, first, {scratch.places.data(), static_cast<std::size_t>(count)});
    const CanonicalRows keys =
        canonical_rows(cache_, row, tile.head, Role::keys, first, count, scratch.rows.data());
    const TileDecoder decoder = keys_.decoder(tile.head);
    TileReader(decoder, head_dim_).read(keys.codes, keys.scales, 0, count, rows, scratch.places.data());
    const auto width = static_cast<std::size_t>(head_dim_);
    std::fill(rows + static_cast<std::size_t>(count) * width,
              rows + kPageTokens * static_cast<std::int64_t>(width), 0.0f);
  }

  // Everything else, decoded tile by tile. `first`: `sum` holds nothing yet.
  void attend_tiles(const AttendTile& tile, HistoryRange range, bool coded, bool first,
                    const AttendQuery& query, const AttendPartial& sum) const {
    if (range.begin >= range.end) return;
    const auto rows = static_cast<std::size_t>(tile.rows), width = static_cast<std::size_t>(head_dim_);
    const std::size_t floats = TileMemory::partial_floats(rows, width);
    const TileDecoder keys = coded ? keys_.decoder(tile.head) : exact_;
    const TileDecoder values = coded ? values_.decoder(tile.head) : exact_;
    const bool placed = coded && cache_.methods.keys->frame() > 0;
    if (placed) scratch.places.resize(kRunsAtOnce * kPageTokens);
    if (coded) scratch.rows.resize(2 * kRunsAtOnce * canonical_buffer(cache_));
    const RunSource next_run = [&, token = range.begin, turn = std::size_t{0}]() mutable {
      if (token >= range.end) return TokenRun{};
      turn = (turn + 1) % kRunsAtOnce;
      TokenRun run = coded ? coded_run(tile, token, range.end, turn) : exact_run(tile, token, range.end);
      if (placed) run.key_places = find_places(tile, run, turn);
      token += run.count;
      return run;
    };
    const AttendPartial whole = first ? sum : TileMemory::partial_at(scratch.whole.reserve(floats), rows);
    attend_runs(keys, values, next_run, query, whole, scratch.kernel);
    const CodedBasis* basis = coded ? values_.basis(tile.head) : nullptr;
    if (basis != nullptr) restore_rows(*basis, whole, rows);
    if (!first) merge_partials(sum, whole, tile.rows, head_dim_);
  }

  // Sums of value codes, the first coordinates of each row -> the space of the input.
  void restore_rows(const CodedBasis& basis, const AttendPartial& sum, std::size_t rows) const {
    const auto width = static_cast<std::size_t>(head_dim_),
               dims = static_cast<std::size_t>(basis.coded_dim());
    float* coded = scratch.merge.reserve(rows * width);
    for (std::size_t r = 0; r < rows; ++r)
      std::memcpy(coded + r * dims, sum.out + r * width, dims * sizeof(float));
    basis.restore_sums(coded, sum.sum, rows, sum.out);
  }

  const TokenPlace* find_places(const AttendTile& tile, const TokenRun& run, std::size_t index) const {
    TokenPlace* places = scratch.places.data() + index * kPageTokens;
    cache_.key_places(cache_.rows[static_cast<std::size_t>(tile.row)], cache_.coded(run.first),
                      {places, static_cast<std::size_t>(run.count)});
    return places;
  }

  // `index`: of the run among those at hand.
  TokenRun coded_run(const AttendTile& tile, std::int64_t token, std::int64_t end, std::size_t index) const {
    const CacheRow& row = cache_.rows[static_cast<std::size_t>(tile.row)];
    const std::int64_t coded = cache_.coded(token);
    const auto count = static_cast<int>(std::min(end - token, kPageTokens - coded % kPageTokens));
    const std::size_t bytes = canonical_buffer(cache_);
    std::uint8_t* buffer = scratch.rows.data() + 2 * index * bytes;
    const CanonicalRows keys = canonical_rows(cache_, row, tile.head, Role::keys, coded, count, buffer);
    const CanonicalRows values =
        canonical_rows(cache_, row, tile.head, Role::values, coded, count, buffer + bytes);
    return {.key_codes = keys.codes,
            .key_scales = keys.scales,
            .value_codes = values.codes,
            .value_scales = values.scales,
            .first = token,
            .count = count};
  }

  TokenRun exact_run(const AttendTile& tile, std::int64_t token, std::int64_t end) const {
    const ExactTokens& exact = cache_.rows[static_cast<std::size_t>(tile.row)].exact;
    const std::int64_t together = std::min<std::int64_t>(exact.contiguous_from(token), kPageTokens);
    return {.key_codes = reinterpret_cast<const std::uint8_t*>(exact.keys(tile.head, token)),
            .key_scales = nullptr,
            .value_codes = reinterpret_cast<const std::uint8_t*>(exact.values(tile.head, token)),
            .value_scales = nullptr,
            .first = token,
            .count = static_cast<int>(std::min(end - token, together))};
  }

  // The sum over parts [begin, end), in their order, in the first of them.
  AttendPartial merged(const AttendTile& tile, std::size_t begin, std::size_t end,
                       const TileMemory& memory) const {
    const AttendPartial sum = memory.partial(begin - tile.coded_begin);
    for (std::size_t p = begin + 1; p < end; ++p) {
      merge_partials(sum, memory.partial(p - tile.coded_begin), tile.rows, head_dim_);
    }
    return sum;
  }

  // From the space of the value codes to that of the values.
  void restore_values(const AttendTile& tile, const AttendPartial& sum) const {
    const auto width = static_cast<std::size_t>(head_dim_);
    const float* centre = values_.centre(tile.head);
    for (std::size_t r = 0; r < static_cast<std::size_t>(tile.rows); ++r) {
      float* out = sum.out + r * width;
      if (const RowTransform* transform = values_.transform(tile.head)) {
        float* coded = scratch.merge.reserve(width);
        std::memcpy(coded, out, width * sizeof(float));
        transform->inverse_row(coded, out);
      }
      for (std::size_t c = 0; centre != nullptr && c < width; ++c) out[c] += sum.sum[r] * centre[c];
    }
  }

  // Merges the parts, undoes the transform, normalizes, and writes the result.
  void finish(const AttendTile& tile, const TileMemory& memory) const {
    const auto width = static_cast<std::size_t>(head_dim_);
    const bool any_coded = tile.coded_begin < tile.exact_begin, any_exact = tile.exact_begin < tile.end;
    // A tile has one or the other: every query sees a token.
    const AttendPartial sum = any_coded ? merged(tile, tile.coded_begin, tile.exact_begin, memory)
                                        : merged(tile, tile.exact_begin, tile.end, memory);
    if (any_coded) restore_values(tile, sum);
    if (any_coded && any_exact) {
      const AttendPartial exact = merged(tile, tile.exact_begin, tile.end, memory);
      merge_partials(sum, exact, tile.rows, head_dim_);
    }
    for (int r = 0; r < tile.rows; ++r) {
      if (!(sum.sum[r] > 0) || !std::isfinite(sum.sum[r])) {
        throw NumericError(
            kOperation,
            fmt::format("the softmax of query head {}, token {} sums up to {}; queries or keys are "
                        "too large for float32",
                        std::int64_t{tile.head} * group_ + r % group_, tile.first + r / group_, sum.sum[r]));
      }
      const float norm = 1.0f / sum.sum[r];
      const float* from = sum.out + static_cast<std::size_t>(r) * width;
      float* to = out_.data<float>() + vector_offset(tile, r);
      for (std::size_t c = 0; c < width; ++c) to[c] = from[c] * norm;
    }
  }

  const CacheState& cache_;
  Tensor queries_;
  std::vector<std::int64_t> lengths_;
  float scale_;
  AttentionMask mask_;
  int head_dim_, group_;
  std::shared_ptr<const LayerKernels> kernels_;
  const CodedSide &keys_, &values_;
  TileDecoder exact_;
  AttendPlan plan_;
  Tensor out_;
};

void check_mask(const AttentionMask& mask) {
  if (mask.window < 0) throw ConfigError(kOperation, fmt::format("window {} is negative", mask.window));
  if (mask.window > 0 && !mask.causal) {
    throw ConfigError(kOperation, fmt::format("a window ({}) needs a causal mask", mask.window));
  }
}

}  // namespace

Tensor attend_history(const CacheState& cache, const Tensor& queries, std::span<const std::int64_t> lengths,
                      float scale, const AttentionMask& mask) {
  const KVCacheOptions& o = cache.options();
  check_mask(mask);
  if (!std::isfinite(scale)) throw ConfigError(kOperation, fmt::format("scale {} is not finite", scale));
  const Tensor rows = checked_vectors(queries, o.head_dim, kOperation);
  if (rows.dim(0) != o.batch || rows.dim(1) == 0 || rows.dim(1) % o.kv_heads != 0) {
    throw ShapeError(kOperation, fmt::format("queries of shape {}, need [{}, a multiple of {}, new, {}]",
                                             to_string(rows.shape()), o.batch, o.kv_heads, o.head_dim));
  }
  std::vector<std::int64_t> counts = row_lengths(lengths, cache.rows.size(), rows.dim(2), kOperation);
  for (std::size_t b = 0; b < counts.size(); ++b) {
    if (counts[b] > cache.rows[b].size) {
      throw ShapeError(
          kOperation, fmt::format("{} queries on the {} tokens of row {}; append the tokens first", counts[b],
                                  cache.rows[b].size, b));
    }
  }
  if (scale == 0) scale = 1.0f / std::sqrt(static_cast<float>(o.head_dim));
  return Attention(cache, rows, std::move(counts), scale, mask).run();
}

}  // namespace veloxquant
