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

// Rounds the table with the step, of those that use at least 3/4 of the bytes' range, that loses the least.
RoundedTable round_table(const CodeSpec& spec);

// Queries as signed bytes. The four bytes of a quad of dimensions stand together, those of all rows side by
// side.
struct alignas(64) PreparedRows {
  float step[kKernelRows];         // of the scores: query step * table step
  std::int32_t bias[kKernelRows];  // what a table biased by 128 adds too much: 128 * sum of the bytes
  std::int8_t bytes[128 * 4 * kKernelRows];  // [quad][row of `width`][4]

  static constexpr int kMaxHeadDim = 512;
};

void prepare_scalar_rows(const KeyKernel& self, const float* queries, int rows, std::byte* prepared);

// The kernels of a scalar code with these inner loops; without functions where there are none.
KeyKernel scalar_keys(const CodeSpec& spec, KeyKernel::Scores scores);
ValueKernel scalar_values(const CodeSpec& spec, ValueKernel::Add add);

// The inner loops of a level, null for widths that it does not serve. Files that are compiled for a later CPU
// hold nothing but these: what the compiler makes of library code there must not be used elsewhere.
KeyKernel::Scores scalar_scores_avx512(int bits) noexcept;
ValueKernel::Add scalar_add_avx512(int bits) noexcept;

}  // namespace veloxquant
