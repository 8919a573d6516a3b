// Block kernels of trellis codes: their tables and prepared queries, shared by the CPU levels.
//
// Every table of a trellis code is odd, values[255 - w] = -values[w], so the integers that stand for it are
// chosen odd about -1/2: byte u stands for step * (u - 127.5), and bytes[255 - w] = 255 - bytes[w] is a
// complement. A look-up therefore needs only the 128 entries of windows below 128, and complements index and
// result of the others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "attention/block_kernels.hpp"
#include "attention/block_rows.hpp"

namespace veloxquant {

struct alignas(64) TrellisBytes {
  std::uint8_t bytes[128];  // of the windows 0..127
  float step;
  // The dimension of each lane of the value kernel's sums, or of each byte of the key kernel's queries
  // (head_dim where the last step of a string has no more).
  std::vector<std::uint16_t> dims;
  // Where a section of 64 strings goes on: from its begin in the block, and bytes of a string there.
  std::ptrdiff_t behind;
  std::size_t behind_bytes;
};

// Most coordinates of keys: sums of that many products fit in 32 bits, and queries in the buffers of their
// preparation.
inline constexpr int kMostTrellisDims = 512;

// At 4 bits the error of bytes as queries and weights is no longer small beside that of the code.
constexpr bool trellis_is_wide(int bits) noexcept { return bits == 4; }

// Rounds the table with the step that loses the least. Nothing else is filled in.
TrellisBytes round_trellis_table(const CodeSpec& spec);

// Head of the prepared queries; [quad][row of `width`][4] signed bytes follow, twice in wide kernels: high
// bytes of all quads, then low bytes, query = step of the query * (256 high + low).
struct alignas(64) TrellisQueryHead {
  float step[kKernelRows];  // of the scores
  float bias[kKernelRows];  // 127.5 * the sum of the query's integers
};

// Or, where products are of 16 bits, words at query_word_place(). kWordTop keeps the sum of kMostTrellisDims
// dimensions, each up to 255 times a word, within 32 bits.
inline constexpr int kWordTop = 16383;

// Words of a key's string, and lines of a value's, whose windows are found together: a step. Windows repeat
// their places in 24 and 48 bits at 3 bits, and in every word else. A step has so many quads (pairs) of
// dimensions.
constexpr int key_step_words(int bits) noexcept { return bits == 3 ? 3 : 1; }
constexpr int key_step_quads(int bits) noexcept { return key_step_words(bits) * 8 / bits; }
constexpr int value_step_lines(int bits) noexcept { return bits == 3 ? 3 : 1; }
constexpr int value_step_pairs(int bits) noexcept { return value_step_lines(bits) * 8 / bits; }

// Where the windows of pair P of a step are: in halves that begin `shift` bits behind those of line `line`,
// `offset` bits further on. Few different ones, so that shifted halves and multishift places are shared.
struct PairPlace {
  int line, shift, offset;
};
constexpr PairPlace pair_place(int bits, int pair) {
  const int at = 2 * bits * pair, within = at % 16;
  if (within + bits <= 8) return {at / 16, 0, within};
  if (within >= 8 && within - 8 + bits <= 8) return {at / 16, 8, within - 8};
  return {at / 16, within, 0};
}

// The kernels of a trellis code with these inner loops; without functions where there are none, or where the
// code has no word order or no odd table.
KeyKernel trellis_keys(const CodeSpec& spec, KeyKernel::Scores scores, Operands operands);
ValueKernel trellis_values(const CodeSpec& spec, ValueKernel::Add add, Operands operands);

// The inner loops of a level for such a code, null where it has none: AVX2 and NEON have them for keys of
// whole words that go on in whole words, and values of whole lines that go on at their own begin.
KeyKernel::Scores trellis_scores_avx512(const CodeSpec& spec) noexcept;
void prepare_trellis_bytes_avx512(const KeyKernel& self, const float* queries, std::size_t stride, int rows,
                                  std::byte* prepared) noexcept;
ValueKernel::Add trellis_add_avx512(const CodeSpec& spec) noexcept;
ValueKernel::Add trellis_add_quads_avx512(int bits) noexcept;  // of trellis_add_avx512()
KeyKernel::Scores trellis_scores_avx2(const CodeSpec& spec) noexcept;
ValueKernel::Add trellis_add_avx2(const CodeSpec& spec) noexcept;
KeyKernel::Scores trellis_scores_neon(const CodeSpec& spec) noexcept;
ValueKernel::Add trellis_add_neon(const CodeSpec& spec) noexcept;

}  // namespace veloxquant
