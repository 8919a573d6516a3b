// The online softmax between the kernels of a block: its state, and one block's numbers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "attention/attend.hpp"
#include "attention/attend_run.hpp"
#include "attention/block_kernels.hpp"

namespace veloxquant {

inline constexpr int kTotalLanes = 16;  // sums of weights are kept in so many parts
inline constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;

// State over the blocks of a call. Scores here are logarithms to base 2.
struct BlockSoftmax {
  BlockSoftmax(const AttendQuery& attend_query, const ValueKernel& values, float* value_sums,
               std::size_t sum_stride)
      : query(attend_query), form(values.form), sums(value_sums), stride(sum_stride) {
    const TokenRange all = visible_to_all(query, 0, query.rows);
    all_begin = all.begin;
    all_end = all.end;
    std::fill(total, total + kKernelRows * kTotalLanes, 0.0f);
    for (int r = 0; r < kKernelRows; ++r) {
      max[r] = -std::numeric_limits<float>::infinity();
      step[r] = 1;
      offset[r] =
          r < query.rows && query.key_offset != nullptr ? query.key_offset[r] * query.scale * kLog2E : 0.0f;
    }
  }

  // Whether some row does not see all of the block.
  bool masked(std::int64_t first) const noexcept {
    return first < all_begin || first + kBlockTokens > all_end;
  }
  float total_of(int r) const noexcept {
    float sum = 0;
    for (int i = 0; i < kTotalLanes; ++i) sum += total[r * kTotalLanes + i];
    return sum;
  }

  const AttendQuery& query;
  std::int64_t all_begin = 0, all_end = 0;  // what every row sees
  WeightForm form;
  float* sums;  // of the value kernel; shrink when a maximum grows
  std::size_t stride;
  BlockWeights weights;
  alignas(64) float max[kKernelRows], total[kKernelRows * kTotalLanes], step[kKernelRows],
      offset[kKernelRows];
};

struct BlockScores {
  float* scores;                                  // [rows][64]; become the weights
  std::uint8_t *low, *high;                       // [rows][64], for the integer forms
  const std::uint8_t *key_scales, *value_scales;  // of the vectors, one for each
  VectorScale key_scale, value_scale;             // their form
  int value_gain_bit;                             // where a value's gain begins in its byte; a key's at bit 0
  std::int64_t first;                             // history index of the block's first token
  const float* offsets = nullptr;                 // [rows][64], added to the scaled scores; null: 0
  std::size_t offset_stride = kBlockTokens;       // from a row of them to the next
};

}  // namespace veloxquant
