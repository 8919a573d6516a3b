// The online softmax between the kernels of a block: its state, and one block's numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "attention/attend.hpp"
#include "attention/block_kernels.hpp"

namespace veloxquant {

// State over the blocks of a call.
struct BlockSoftmax {
  BlockSoftmax(const AttendQuery& attend_query, const ValueKernel& values, float* value_sums, std::size_t sum_stride)
      : query(attend_query), form(values.form), sums(value_sums), stride(sum_stride) {
    for (int r = 0; r < kKernelRows; ++r) {
      max[r] = -std::numeric_limits<float>::infinity();
      total[r] = 0;
      step[r] = 1;
      offset[r] = r < query.rows && query.key_offset != nullptr ? query.key_offset[r] * query.scale : 0.0f;
    }
  }

  const AttendQuery& query;
  WeightForm form;
  float* sums;  // of the value kernel; shrink when a maximum grows
  std::size_t stride;
  BlockWeights weights;
  alignas(64) float max[kKernelRows], total[kKernelRows], step[kKernelRows], offset[kKernelRows];
};

struct BlockScores {
  float* scores;             // [rows][64]; become the weights
  std::uint8_t *low, *high;  // [rows][64], for the integer forms
  const std::uint8_t *key_scales, *value_scales;  // f16 [64], or null
  std::int64_t first;        // history index of the block's first token
};

}  // namespace veloxquant
