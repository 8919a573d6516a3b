#include "attention/attend_blocks.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

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
  BlockMemory(const KeyKernel& keys, const AttendQuery& query, AttendScratch& scratch) {
    const std::size_t row = padded_row(query.head_dim), per_block = kKernelRows * kBlockTokens;
    const std::size_t floats =
        keys.prepared_bytes / 4 + 2 * kKernelRows * row + 2 * per_block + per_block / 2 + 64;
    auto* memory = reinterpret_cast<std::byte*>(scratch.reserve(floats));
    prepared = take<std::byte>(memory, keys.prepared_bytes);
    queries = take<float>(memory, kKernelRows * row);
    sums = take<float>(memory, kKernelRows * row);
    scores = take<float>(memory, per_block);
    low = take<std::uint8_t>(memory, per_block);
    high = take<std::uint8_t>(memory, per_block);
  }
  std::byte* prepared;
  float *queries, *sums, *scores;
  std::uint8_t *low, *high;
};

VectorScale scale_form(const CodeSpec& spec) noexcept {
  return spec.has_vector_scale() ? spec.vector_scale : VectorScale::none;
}

// What follows a block, to be asked for while it is worked on.
const std::uint8_t* section_ahead(const BlockRange& blocks, int block, std::size_t offset) {
  return block + 1 < blocks.count ? blocks.pages[block + 1] + offset : nullptr;
}

// A row of sums in the order of the dimensions.
void write_sums(const std::vector<std::uint16_t>& order, const float* sums, std::size_t dims, float* out) {
  if (order.empty()) {
    std::memcpy(out, sums, dims * sizeof(float));
    return;
  }
  for (std::size_t i = 0; i < dims; ++i) out[order[i]] = sums[i];
}

}  // namespace

void attend_blocks(const KeyKernel& keys, const ValueKernel& values, const BlockRange& blocks,
                   const AttendQuery& query, const AttendPartial& partial, AttendScratch& scratch) {
  const BlockMemory memory(keys, query, scratch);
  const auto rows = static_cast<std::size_t>(query.rows), dims = static_cast<std::size_t>(query.head_dim);
  const std::size_t stride = padded_row(query.head_dim);
  std::fill(memory.sums, memory.sums + kKernelRows * stride, 0.0f);
  std::fill(memory.scores, memory.scores + kKernelRows * kBlockTokens, 0.0f);
  for (std::size_t i = 0; i < rows * dims; ++i) memory.queries[i] = query.queries[i] * query.scale;
  keys.prepare(keys, memory.queries, query.rows, memory.prepared);

  BlockSoftmax softmax(query, values, memory.sums, stride);
  softmax.weights = {.f32 = memory.scores, .u8 = memory.high, .low = memory.low, .step = softmax.step};
  const TokenRange seen = visible_to_any(query, 0, query.rows);
  const std::size_t key_scales = kBlockTokens * keys.spec.code_bytes();
  const std::size_t value_scales = kBlockTokens * values.spec.code_bytes();
  auto* const weigh = VELOX_DISPATCH(weigh_block);
  for (int i = 0; i < blocks.count; ++i) {
    const std::int64_t first = blocks.first + std::int64_t{i} * kBlockTokens;
    if (first + kBlockTokens <= seen.begin || first >= seen.end) continue;
    const std::uint8_t* key_block = blocks.pages[i] + blocks.keys;
    const std::uint8_t* value_block = blocks.pages[i] + blocks.values;
    keys.scores(keys, memory.prepared, query.rows, key_block, section_ahead(blocks, i, blocks.keys), 0, 4,
                memory.scores);
    weigh(softmax, {.scores = memory.scores,
                    .low = memory.low,
                    .high = memory.high,
                    .key_scales = key_block + key_scales,
                    .value_scales = value_block + value_scales,
                    .key_scale = scale_form(keys.spec),
                    .value_scale = scale_form(values.spec),
                    .first = first});
    values.add(values, softmax.weights, query.rows, value_block, section_ahead(blocks, i, blocks.values),
               memory.sums);
  }
  for (std::size_t r = 0; r < rows; ++r) {
    partial.max[r] = softmax.max[r] * kLn2;
    partial.sum[r] = softmax.total_of(static_cast<int>(r));
    write_sums(values.order, memory.sums + r * stride, dims, partial.out + r * dims);
  }
}

}  // namespace veloxquant
#endif
