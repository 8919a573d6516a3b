// Block kernels: attention of 1 to 8 query rows on packed blocks (pack/block_order.hpp), one kernel for the
// code of the keys and one for that of the values, chosen independently once a call. The online softmax
// between them (attend_blocks.hpp) is shared by all codes.
//
// A kernel sees one block, 64 tokens of one KV head. All rows of its score and weight matrices are 64 floats
// (bytes, words); rows of sums are padded_row(head_dim) floats. Memory is 64-byte aligned, but for the sums of runs of
// a mixed code, which begin at any float.
//
// Two arithmetics. `fast`: integer kernels with rounded queries, tables and weights, whose error is small
// beside that of the code; only where that is measured (tests/attention/block_kernel_test.cpp). `precise`:
// fp32 throughout. Codes, CPU levels and head sizes without a kernel have none (null functions); the caller
// then decodes tiles.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include <veloxquant/attention/arithmetic.hpp>
#include <veloxquant/quantizers/code_spec.hpp>

#include "pack/block_order.hpp"

namespace veloxquant {

inline constexpr int kKernelRows = 8;  // most query rows of a kernel call
// Most query rows of a block, eight a call, for kernels whose work for a row is no less than that of a matrix
// product: with more, tiles decoded once for all rows are faster.
inline constexpr int kRowsBeforeTiles = 32;

// What a kernel needs to know beside the block, made by its finder (tables as its instructions want them).
// Its type is the kernel's own business.
using KernelTables = std::shared_ptr<const void>;

struct KeyKernel {
  // Query rows of head_dim floats, `stride` from one to the next, already multiplied by the softmax scale ->
  // `prepared` (prepared_bytes long): rounded and laid out as the kernel likes, with its corrections. Called
  // once per part of the history and once per frame for framed keys.
  using Prepare = void (*)(const KeyKernel& self, const float* queries, std::size_t stride, int rows,
                           std::byte* prepared);
  // scores[r][t] <- <query r, coded key t> for the token groups [first_group, first_group + groups) of 16
  // tokens, without the vector's scale (`vector_scale`) but with the scales of groups of dimensions. `ahead`
  // is the section of keys (of the same size) that is read later; the kernel asks for its lines as it goes.
  // Null: nothing follows.
  using Scores = void (*)(const KeyKernel& self, const std::byte* prepared, int rows,
                          const std::uint8_t* block, const std::uint8_t* ahead, int first_group, int groups,
                          float* scores);
  Prepare prepare = nullptr;
  Scores scores = nullptr;
  CodeSpec spec;
  std::size_t prepared_bytes = 0;  // for kKernelRows rows, a multiple of 64
  KernelTables tables;
  int most_rows = std::numeric_limits<int>::max();  // of a block; with more, callers had better decode tiles
};

// How a value kernel wants its weights.
enum class WeightForm : std::uint8_t { f32, u8, u16 };

// Weights of a block: of row r and token t, weight = step[r] * (the stored number). They include the vector's
// scale.
struct BlockWeights {
  const float* f32 = nullptr;         // WeightForm::f32: [rows][64]
  const std::uint8_t* u8 = nullptr;   // WeightForm::u8: [rows][64]
  const std::uint8_t* low = nullptr;  // WeightForm::u16: low bytes in `low` [rows][64], high bytes in `u8`
  const float* step = nullptr;        // [kKernelRows]; 1 for f32
};

struct ValueKernel {
  // sums[r][c] += sum_t weight(r, t) * value(t, c), without the vector's scale.
  using Add = void (*)(const ValueKernel& self, const BlockWeights& weights, int rows,
                       const std::uint8_t* block, const std::uint8_t* ahead, float* sums);
  Add add = nullptr;
  WeightForm form = WeightForm::f32;
  CodeSpec spec;
  KernelTables tables;
  // The dimension of each of the head_dim sums of a row, where the kernel keeps them in an order of its own;
  // else empty.
  std::vector<std::uint16_t> order = {};
  // Floats from a row of sums to the next, a multiple of 16; 0: padded_row(head_dim).
  std::size_t stride = 0;
  int most_rows = std::numeric_limits<int>::max();  // as in KeyKernel
};

// Whether entry n - 1 - i of the code's table of n is the negative of entry i. Some kernels read one half
// only.
bool has_odd_table(const CodeSpec& spec);

// The kernel of a code at the CPU level in use, with null functions where there is none.
KeyKernel find_key_kernel(const CodeSpec& spec, AttentionArithmetic arithmetic);
ValueKernel find_value_kernel(const CodeSpec& spec, AttentionArithmetic arithmetic);

}  // namespace veloxquant
