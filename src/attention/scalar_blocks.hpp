// Block kernels of scalar codes: their tables and prepared queries, shared by the CPU levels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "attention/block_kernels.hpp"
#include "attention/block_rows.hpp"

namespace veloxquant {

// The table of a scalar code of up to 4 bits as signed bytes, value = step * byte; every 16 entries the same,
// so that bits beyond a field do not matter to a look-up.
struct alignas(64) RoundedTable {
  std::int8_t values[64];
  float step;
};

// Rounds the table with the step, of those that make the largest byte 3/4 `limit` to `limit`, that loses the
// least.
RoundedTable round_table(const CodeSpec& spec, int limit);

// How many products a level's instruction adds at a time: four neighbours, to 32 bits, or only two, to 16. In
// the latter case neighbours of queries are kept to |q| + |q'| <= 128, and tables of values to |t| <= 64, so
// that with unsigned bytes, up to 255 as tables of keys and as weights,
//
//     255 * 128 = 2 * 255 * 64 = 32,640 < 2^15
enum class ProductSums : std::uint8_t { of_four, of_two };

// Queries as signed bytes. The four bytes of a quad of dimensions stand together, those of all rows side by
// side.
struct alignas(64) PreparedRows {
  float step[kKernelRows];         // of the scores: query step * table step
  std::int32_t bias[kKernelRows];  // what a table biased by 128 adds too much: 128 * sum of the bytes
  std::int8_t bytes[128 * 4 * kKernelRows];  // [quad][row of `width`][4]

  static constexpr int kMaxHeadDim = 512;
};

// The kernels of a scalar code with these inner loops; without functions where there are none.
KeyKernel scalar_keys(const CodeSpec& spec, KeyKernel::Scores scores, ProductSums sums);
ValueKernel scalar_values(const CodeSpec& spec, ValueKernel::Add add, ProductSums sums);

// The inner loops of a level, null for widths that it does not serve. Files that are compiled for a later CPU
// hold nothing but these: what the compiler makes of library code there must not be used elsewhere.
KeyKernel::Scores scalar_scores_avx512(int bits) noexcept;
void prepare_scalar_bytes_avx512(const KeyKernel& self, const float* queries, std::size_t stride, int rows,
                                 std::byte* prepared) noexcept;
ValueKernel::Add scalar_add_avx512(int bits) noexcept;
KeyKernel::Scores scalar_scores_avx2(int bits) noexcept;
ValueKernel::Add scalar_add_avx2(int bits) noexcept;
KeyKernel::Scores scalar_scores_neon(int bits) noexcept;
ValueKernel::Add scalar_add_neon(int bits) noexcept;

}  // namespace veloxquant
