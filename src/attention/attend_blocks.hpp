// Attention of 1 to 8 query rows on packed blocks: scores by the key kernel, online softmax, sums by the
// value kernel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "attention/attend.hpp"
#include "attention/block_kernels.hpp"
#include "attention/turned_keys.hpp"
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

// Tokens [first, end) of a block that are of one frame and whose positions follow each other: the frame
// begins at `start`, and the first of them stands at start + place.
struct FrameCut {
  int first, end;
  std::int64_t start, place;
};

// Keys that are coded in frames: their basis, how queries are multiplied by it, and the cuts of a block, from
// its first token on; tokens behind the last cut are seen by no row.
struct FramedKeys {
  const CodedBasis* basis = nullptr;
  FrameProducts products = FrameProducts::f32;
  std::function<void(int block, std::vector<FrameCut>& cuts)> cut = {};
};

// Keys in frames so short that they are brought to the space of the input block by block: by `turned`, if there is one,
// where the positions of a block follow each other, else decoded, with their scales.
struct DecodedKeys {
  const CodeSpec* codes = nullptr;
  std::function<void(int block, float* rows)> rows = {};  // [64, head_dim]
  const TurnedKeys* turned = nullptr;
  std::function<std::int64_t(int block)> start = {};  // of such a block, the first position; -1 of the others
};

// As attend_runs(): writes `partial` from scratch. query.rows is at most kKernelRows and both kernels exist.
// Queries are in the space of the key codes, with `framed` or `decoded` in that of the input; rows of
// partial.out, dense, have the coordinates of the value codes. With `decoded` the key kernel is that of its
// rows, f32.
void attend_blocks(const KeyKernel& keys, const ValueKernel& values, const BlockRange& blocks,
                   const AttendQuery& query, const AttendPartial& partial, AttendScratch& scratch,
                   const FramedKeys* framed = nullptr, const DecodedKeys* decoded = nullptr);

}  // namespace veloxquant
