#include "attention/attend_blocks.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>

#include "attention/attend_run.hpp"
#include "core/dispatch.hpp"

#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#define HWY_WANT_AVX3_DL
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/attend_blocks.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "attention/block_softmax-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {

// One block's scores -> weights, for all rows.
void weigh_block(BlockSoftmax& softmax, const BlockScores& block) { weigh_rows(softmax, block); }

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(weigh_block);

namespace {

template <class T>
T* take(std::byte*& memory, std::size_t count) {
  auto* taken = reinterpret_cast<T*>(memory);
  memory += (count * sizeof(T) + 63) / 64 * 64;
  return taken;
}

// The kernels' memory for one call.
struct BlockMemory {
  BlockMemory(const KeyKernel& keys, const ValueKernel& values, const AttendQuery& query, bool decoded,
              AttendScratch& scratch) {
    const std::size_t row = padded_row(std::max(query.head_dim, values.spec.head_dim)),
                      per_block = kKernelRows * kBlockTokens;
    const std::size_t key_floats = decoded ? kBlockTokens * row : 0;
    const std::size_t floats =
        keys.prepared_bytes / 4 + 2 * kKernelRows * row + 3 * per_block + per_block / 2 + key_floats + 64;
    auto* memory = reinterpret_cast<std::byte*>(scratch.reserve(floats));
    prepared = take<std::byte>(memory, keys.prepared_bytes);
    queries = take<float>(memory, kKernelRows * row);
    sums = take<float>(memory, kKernelRows * row);
    scores = take<float>(memory, per_block);
    offsets = take<float>(memory, per_block);
    low = take<std::uint8_t>(memory, per_block);
    high = take<std::uint8_t>(memory, per_block);
    key_rows = take<float>(memory, key_floats);
  }
  std::byte* prepared;
  float *queries, *sums, *scores, *offsets, *key_rows;
  std::uint8_t *low, *high;
};

VectorScale scale_form(const CodeSpec& spec) noexcept {
  return spec.has_vector_scale() ? spec.vector_scale : VectorScale::none;
}

// What follows a block, to be asked for while it is worked on.
const std::uint8_t* section_ahead(const BlockRange& blocks, int block, std::size_t offset) {
  return block + 1 < blocks.count ? blocks.pages[block + 1] + offset : nullptr;
}

// Asks for the scales of a block's vectors. Kernels ask for the codes that follow; scales stand behind them,
// and a miss on them stalls the softmax.
void ask_for_scales(const std::uint8_t* scales, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; i += 64) __builtin_prefetch(scales + i, 0, 2);
}

// A row of sums in the order of the dimensions.
void write_sums(const std::vector<std::uint16_t>& order, const float* sums, std::size_t dims, float* out) {
  if (order.empty()) {
    std::memcpy(out, sums, dims * sizeof(float));
    return;
  }
  for (std::size_t i = 0; i < dims; ++i) out[order[i]] = sums[i];
}

// What the means add to a block's scores: [rows][64], `stride` from row to row.
struct BlockOffsets {
  const float* rows = nullptr;
  std::size_t stride = kBlockTokens;
};

// Some blocks in a row, and the queries as they are seen from all their frames.
struct SeenFrames {
  FramedQueries queries;
  std::vector<std::int64_t> starts;
  std::vector<FrameCut> cuts;       // of the blocks, one after the other
  std::vector<std::size_t> frames;  // of each cut: its frame among `starts`
  std::vector<std::size_t> ends;    // of each block: the end of its cuts
};
thread_local SeenFrames seen_frames;  // memory that is kept between calls
thread_local TurnedQueries turned_queries;

// The keys of blocks in frames: their scores, and what the means add to them. Mostly a block is in one frame.
class FrameScores {
 public:
  FrameScores(const KeyKernel& keys, const FramedKeys& framed, const BlockMemory& memory, int rows,
              int blocks)
      : keys_(keys), framed_(framed), memory_(memory), rows_(rows), blocks_(blocks), seen_(seen_frames) {
    seen_.queries.start = -1;
  }

  BlockOffsets score(int block, const std::uint8_t* codes, const std::uint8_t* ahead) {
    if (block >= end_) see_frames_from(block);
    const auto at = static_cast<std::size_t>(block - begin_);
    const std::size_t begin = at == 0 ? 0 : seen_.ends[at - 1], end = seen_.ends[at];
    for (std::size_t i = begin; i < end; ++i) score_cut(i, codes, i == begin ? ahead : nullptr);
    if (seen_.cuts[begin].end == kBlockTokens) return {means_of(begin, 0), seen_.queries.stride};
    for (std::size_t i = begin; i < end; ++i) {
      const FrameCut& cut = seen_.cuts[i];
      for (int r = 0; r < rows_; ++r)
        std::copy_n(means_of(i, r), cut.end - cut.first, memory_.offsets + r * kBlockTokens + cut.first);
    }
    return {memory_.offsets, kBlockTokens};
  }

 private:
  static constexpr std::size_t kFramesAtOnce =
      16;  // enough to find the basis in the first cache for most of them
  static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

  void see_frames_from(int block) {
    seen_.starts.clear();
    seen_.cuts.clear();
    seen_.frames.clear();
    seen_.ends.clear();
    prepared_ = kNone;
    begin_ = end_ = block;
    for (; end_ < blocks_ && seen_.starts.size() < kFramesAtOnce; ++end_) {
      framed_.cut(end_, seen_.cuts);
      for (std::size_t i = seen_.frames.size(); i < seen_.cuts.size(); ++i) {
        const std::int64_t start = seen_.cuts[i].start;
        if (seen_.starts.empty() || start != seen_.starts.back()) seen_.starts.push_back(start);
        seen_.frames.push_back(seen_.starts.size() - 1);
      }
      seen_.ends.push_back(seen_.cuts.size());
    }
    framed_.basis->turn_queries(memory_.queries, rows_, seen_.starts, framed_.products, seen_.queries);
  }

  const float* means_of(std::size_t cut, int row) const {
    return seen_.queries.means_of(seen_.frames[cut], static_cast<std::size_t>(row)) + seen_.cuts[cut].place;
  }

  // Kernels score groups of 16 tokens: at a cut's ends they score tokens of its neighbours too, which are
  // dropped.
  void score_cut(std::size_t index, const std::uint8_t* codes, const std::uint8_t* ahead) {
    const FrameCut& cut = seen_.cuts[index];
    if (seen_.frames[index] != prepared_) {
      prepared_ = seen_.frames[index];
      keys_.prepare(keys_, seen_.queries.coded_of(prepared_), seen_.queries.stride, rows_, memory_.prepared);
    }
    const int first_group = cut.first / 16, groups = (cut.end + 15) / 16 - first_group;
    const bool whole = cut.first % 16 == 0 && cut.end % 16 == 0;
    float* scores = whole ? memory_.scores : apart_;
    keys_.scores(keys_, memory_.prepared, rows_, codes, ahead, first_group, groups, scores);
    for (int r = 0; r < rows_ && !whole; ++r) {
      std::copy(scores + r * kBlockTokens + cut.first, scores + r * kBlockTokens + cut.end,
                memory_.scores + r * kBlockTokens + cut.first);
    }
  }

  const KeyKernel& keys_;
  const FramedKeys& framed_;
  const BlockMemory& memory_;
  int rows_, blocks_;
  SeenFrames& seen_;
  int begin_ = 0, end_ = 0;       // blocks that are seen
  std::size_t prepared_ = kNone;  // the frame whose queries are prepared
  alignas(64) float apart_[kKernelRows * kBlockTokens];
};

}  // namespace

void attend_blocks(const KeyKernel& keys, const ValueKernel& values, const BlockRange& blocks,
                   const AttendQuery& query, const AttendPartial& partial, AttendScratch& scratch,
                   const FramedKeys* framed, const DecodedKeys* decoded) {
  const BlockMemory memory(keys, values, query, decoded != nullptr, scratch);
  const auto rows = static_cast<std::size_t>(query.rows), dims = static_cast<std::size_t>(query.head_dim),
             value_dims = static_cast<std::size_t>(values.spec.head_dim);
  const std::size_t stride = padded_row(values.spec.head_dim);
  std::fill(memory.sums, memory.sums + kKernelRows * stride, 0.0f);
  std::fill(memory.scores, memory.scores + kKernelRows * kBlockTokens, 0.0f);
  for (std::size_t i = 0; i < rows * dims; ++i) memory.queries[i] = query.queries[i] * query.scale;
  std::optional<FrameScores> frames;
  if (framed != nullptr) {
    std::fill(memory.offsets, memory.offsets + kKernelRows * kBlockTokens, 0.0f);
    frames.emplace(keys, *framed, memory, query.rows, blocks.count);
  } else {
    keys.prepare(keys, memory.queries, dims, query.rows, memory.prepared);
  }

  const TurnedKeys* turned = decoded != nullptr ? decoded->turned : nullptr;
  if (turned != nullptr) turned->begin(memory.queries, query.rows, turned_queries);

  BlockSoftmax softmax(query, values, memory.sums, stride);
  softmax.weights = {.f32 = memory.scores, .u8 = memory.high, .low = memory.low, .step = softmax.step};
  const TokenRange seen = visible_to_any(query, 0, query.rows);
  const CodeSpec& key_spec = decoded != nullptr ? *decoded->codes : keys.spec;
  const std::size_t key_scales = kBlockTokens * key_spec.code_bytes();
  const std::size_t value_scales = kBlockTokens * values.spec.code_bytes();
  auto* const weigh = VELOX_DISPATCH(weigh_block);
  for (int i = 0; i < blocks.count; ++i) {
    const std::int64_t first = blocks.first + std::int64_t{i} * kBlockTokens;
    if (first + kBlockTokens <= seen.begin || first >= seen.end) continue;
    const std::uint8_t* key_block = blocks.pages[i] + blocks.keys;
    const std::uint8_t* value_block = blocks.pages[i] + blocks.values;
    const std::uint8_t* keys_ahead = section_ahead(blocks, i, blocks.keys);
    const std::uint8_t* values_ahead = section_ahead(blocks, i, blocks.values);
    if (keys_ahead != nullptr) {
      ask_for_scales(keys_ahead + key_scales, kBlockTokens * key_spec.scale_bytes());
      if (!blocks.shared_gains)
        ask_for_scales(values_ahead + value_scales, kBlockTokens * values.spec.scale_bytes());
    }
    BlockOffsets offsets;
    bool has_scales = false;  // the scores, those of their keys
    if (frames) {
      offsets = frames->score(i, key_block, keys_ahead);
    } else if (const std::int64_t start = turned != nullptr ? decoded->start(i) : -1; start >= 0) {
      turned->score(start, key_block, keys_ahead, turned_queries, memory.scores, memory.offsets);
      offsets.rows = memory.offsets;
    } else if (decoded != nullptr) {
      has_scales = true;
      decoded->rows(i, memory.key_rows);
      keys.scores(keys, memory.prepared, query.rows, reinterpret_cast<const std::uint8_t*>(memory.key_rows),
                  nullptr, 0, 4, memory.scores);
    } else {
      keys.scores(keys, memory.prepared, query.rows, key_block, keys_ahead, 0, 4, memory.scores);
    }
    weigh(softmax, {.scores = memory.scores,
                    .low = memory.low,
                    .high = memory.high,
                    .key_scales = key_block + key_scales,
                    .value_scales = blocks.shared_gains ? key_block + key_scales : value_block + value_scales,
                    .key_scale = has_scales ? VectorScale::none : scale_form(key_spec),
                    .value_scale = scale_form(values.spec),
                    .value_gain_bit = blocks.shared_gains ? 4 : 0,
                    .first = first,
                    .offsets = offsets.rows,
                    .offset_stride = offsets.stride});
    values.add(values, softmax.weights, query.rows, value_block, values_ahead, memory.sums);
  }
  for (std::size_t r = 0; r < rows; ++r) {
    partial.max[r] = softmax.max[r] * kLn2;
    partial.sum[r] = softmax.total_of(static_cast<int>(r));
    write_sums(values.order, memory.sums + r * stride, value_dims, partial.out + r * value_dims);
  }
}

}  // namespace veloxquant
#endif
