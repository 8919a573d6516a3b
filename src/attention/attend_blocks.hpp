// Attention of 1 to 8 query rows on packed blocks: scores by the key kernel, online softmax, sums by the
// value kernel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "attention/attend.hpp"
#include "attention/block_kernels.hpp"
#include "transform/coded_basis.hpp"

namespace veloxquant {

// Blocks of one KV head that follow each other in the history. Block i has its keys at pages[i] + keys and
// its values at pages[i] + values; scales follow the codes, or the gains of values share the bytes of those of keys
// (block_layout.hpp).
struct BlockRange {
  const std::uint8_t* const* pages = nullptr;
  std::size_t keys = 0, values = 0;
  bool shared_gains = false;
  int count = 0;
  std::int64_t first = 0;  // history index of the first token of block 0
};

// Keys that are coded in frames: their basis, and where the 64 tokens of a block stand.
struct FramedKeys {
  const CodedBasis* basis = nullptr;
  std::function<void(int block, TokenPlace* places)> places = {};
};

// As attend_runs(): writes `partial` from scratch. query.rows is at most kKernelRows and both kernels exist.
// Queries are in the space of the key codes, with `framed` in that of the input; rows of partial.out, dense,
// have the coordinates of the value codes.
void attend_blocks(const KeyKernel& keys, const ValueKernel& values, const BlockRange& blocks,
                   const AttendQuery& query, const AttendPartial& partial, AttendScratch& scratch,
                   const FramedKeys* framed = nullptr);

}  // namespace veloxquant
