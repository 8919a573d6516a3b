// Block kernels of trellis codes: their tables and prepared queries, shared by the CPU levels.
//
// Every table of a trellis code is odd, values[255 - w] = -values[w], so the integers that stand for it are chosen odd
// about -1/2: byte u stands for step * (u - 127.5), and bytes[255 - w] = 255 - bytes[w] is a complement. A look-up
// therefore needs only the 128 entries of windows below 128, and complements index and result of the others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "attention/block_kernels.hpp"

namespace veloxquant {

struct alignas(64) TrellisBytes {
  std::uint8_t bytes[128];  // of the windows 0..127
  float step;
  // The dimension of each lane of the value kernel's sums, or of each byte of the key kernel's queries.
  std::vector<std::uint16_t> dims;
};

// At 4 bits the error of bytes as queries and weights is no longer small beside that of the code.
constexpr bool trellis_is_wide(int bits) noexcept { return bits == 4; }

// Whether the table is odd; only then do these kernels read it.
bool has_odd_table(const CodeSpec& spec);
// Rounds the table with the step that loses the least. `dims` is left empty.
TrellisBytes round_trellis_table(const CodeSpec& spec);

// Head of the prepared queries; [quad][row of `width`][4] signed bytes follow, twice in wide kernels: high bytes of
// all quads, then low bytes, query = step of the query * (256 high + low).
struct alignas(64) TrellisQueryHead {
  float step[kKernelRows];  // of the scores
  float bias[kKernelRows];  // 127.5 * the sum of the query's integers
};

void prepare_trellis_rows(const KeyKernel& self, const float* queries, int rows, std::byte* prepared);

// Null functions where the level has no kernel for the code.
KeyKernel trellis_keys_avx512(const CodeSpec& spec);
ValueKernel trellis_values_avx512(const CodeSpec& spec);

}  // namespace veloxquant
