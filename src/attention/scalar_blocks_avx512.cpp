// Scalar codes of 1 to 4 bits on AVX-512 with VBMI and VNNI.
//
// Keys: the table, biased by 128, gives unsigned bytes; vpdpbusd multiplies them by the broadcast bytes of
// the query, four dimensions at once for 16 tokens. A quad's broadcast serves all token groups, a register of
// codes all rows:
//
//     sums[row][group] += codes[quad][group] . query[row][quad]          16 sums: 4 rows x 4 groups or 8 x 2
//
// Values: the weights are the unsigned bytes and the table the signed ones:
//
//     sums[row][16 dims] += weights[row][token quad] . codes[token quad][16 dims]      4 rows x 64 dims or 8
//     x 32
#include "attention/scalar_blocks.hpp"

#if defined(__AVX512VNNI__) && defined(__AVX512VBMI__)
#include <immintrin.h>

#include "attention/block_rows.hpp"
#include "attention/planes_avx512.hpp"
#include "attention/query_bytes_avx512.hpp"

namespace veloxquant {
namespace {

// Sums of `Groups` token groups from `first` on.
template <int Bits, int Rows, int Groups, int First>
inline void score_groups(const RoundedTable& table, const PreparedRows& query, int head_dim,
                         const std::uint8_t* block, const std::uint8_t* ahead, int rows, float* scores) {
  const __m512i biased = _mm512_xor_si512(_mm512_load_si512(table.values), _mm512_set1_epi8(-128));
  __m512i sums[Rows][Groups];
  for (int r = 0; r < Rows; ++r) {
    for (int g = 0; g < Groups; ++g) sums[r][g] = _mm512_set1_epi32(-query.bias[r]);
  }
  constexpr std::size_t kUnit = 64 * Bits;
  const std::int8_t* bytes = query.bytes;
  for (int dim = 0; dim < head_dim; dim += 8, block += kUnit) {
    if (ahead != nullptr) {
      prefetch_lines<Bits, Groups == 4 ? 1 : 4 / Groups, First / Groups>(ahead);
      ahead += kUnit;
    }
#pragma GCC unroll 2
    for (int q = 0; q < 2; ++q, bytes += 4 * Rows) {
      __m512i quad[Rows];
      for (int r = 0; r < Rows; ++r) {
        std::int32_t four;
        __builtin_memcpy(&four, bytes + 4 * r, 4);
        quad[r] = _mm512_set1_epi32(four);
      }
      const auto group = [&]<int G>() __attribute__((always_inline)) {
        const __m512i codes = _mm512_permutexvar_epi8(
            q == 0 ? key_fields<Bits, First + G>(block) : key_fields<Bits, 4 + First + G>(block), biased);
        for (int r = 0; r < Rows; ++r) sums[r][G] = _mm512_dpbusd_epi32(sums[r][G], codes, quad[r]);
      };
      group.template operator()<0>();
      if constexpr (Groups > 1) group.template operator()<1>();
      if constexpr (Groups > 2) {
        group.template operator()<2>();
        group.template operator()<3>();
      }
    }
  }
  for (int r = 0; r < rows; ++r) {
    const __m512 step = _mm512_set1_ps(query.step[r]);
    for (int g = 0; g < Groups; ++g) {
      _mm512_store_ps(scores + r * kBlockTokens + 16 * (First + g),
                      _mm512_mul_ps(_mm512_cvtepi32_ps(sums[r][g]), step));
    }
  }
}

template <int Bits, int Rows>
void score_rows(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                const std::uint8_t* ahead, int first_group, int groups, float* scores) {
  const auto& table = *static_cast<const RoundedTable*>(self.tables.get());
  const auto& query = *reinterpret_cast<const PreparedRows*>(prepared);
  const int dims = self.spec.head_dim;
  if (groups == 4) {
    if constexpr (Rows == 8) {
      score_groups<Bits, Rows, 2, 0>(table, query, dims, block, ahead, rows, scores);
      score_groups<Bits, Rows, 2, 2>(table, query, dims, block, ahead, rows, scores);
    } else {
      score_groups<Bits, Rows, 4, 0>(table, query, dims, block, ahead, rows, scores);
    }
    return;
  }
  for (int g = first_group; g < first_group + groups; ++g) {
    const std::uint8_t* lines = g == first_group ? ahead : nullptr;
    switch (g) {
      case 0:
        score_groups<Bits, Rows, 1, 0>(table, query, dims, block, lines, rows, scores);
        break;
      case 1:
        score_groups<Bits, Rows, 1, 1>(table, query, dims, block, lines, rows, scores);
        break;
      case 2:
        score_groups<Bits, Rows, 1, 2>(table, query, dims, block, lines, rows, scores);
        break;
      default:
        score_groups<Bits, Rows, 1, 3>(table, query, dims, block, lines, rows, scores);
    }
  }
}

template <int Bits>
void score_block(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                 const std::uint8_t* ahead, int first_group, int groups, float* scores) {
  with_row_width(rows, [&]<int Rows>() {
    score_rows<Bits, Rows>(self, prepared, rows, block, ahead, first_group, groups, scores);
  });
}

// Units of 16 dimensions [0, Units) of a block: all token quads.
template <int Bits, int Rows, int Units>
inline void add_units(const RoundedTable& table, const BlockWeights& weights, int rows,
                      const std::uint8_t* block, const std::uint8_t* ahead, std::size_t stride, float* sums) {
  const __m512i values = _mm512_load_si512(table.values);
  constexpr std::size_t kUnit = 128 * Bits;
  __m512i part[Rows][Units];
  for (int r = 0; r < Rows; ++r) {
    for (int u = 0; u < Units; ++u) part[r][u] = _mm512_setzero_si512();
  }
  // Eight quads a step: one line of single bits, two of 2-bit fields, four of 4-bit fields.
  for (int step = 0; step < 2; ++step) {
    if (ahead != nullptr) {
      for (int u = 0; u < Units; ++u)
        prefetch_lines<Bits, 1, 0>(ahead + kUnit * u + static_cast<std::size_t>(64 * Bits * step));
    }
    const auto quad = [&]<int Q>() __attribute__((always_inline)) {
      __m512i weight[Rows];
      for (int r = 0; r < Rows; ++r) {
        std::int32_t four;
        __builtin_memcpy(&four, weights.u8 + r * kBlockTokens + 32 * step + 4 * Q, 4);
        weight[r] = _mm512_set1_epi32(four);
      }
      for (int u = 0; u < Units; ++u) {
        const __m512i codes = _mm512_permutexvar_epi8(
            value_fields<Bits, Q>(block + kUnit * static_cast<std::size_t>(u), step), values);
        for (int r = 0; r < Rows; ++r) part[r][u] = _mm512_dpbusd_epi32(part[r][u], weight[r], codes);
      }
    };
    quad.template operator()<0>();
    quad.template operator()<1>();
    quad.template operator()<2>();
    quad.template operator()<3>();
    quad.template operator()<4>();
    quad.template operator()<5>();
    quad.template operator()<6>();
    quad.template operator()<7>();
  }
  for (int r = 0; r < rows; ++r) {
    const __m512 step = _mm512_set1_ps(weights.step[r] * table.step);
    for (int u = 0; u < Units; ++u) {
      float* sum = sums + static_cast<std::size_t>(r) * stride + 16 * u;
      _mm512_storeu_ps(sum, _mm512_fmadd_ps(_mm512_cvtepi32_ps(part[r][u]), step, _mm512_loadu_ps(sum)));
    }
  }
}

template <int Bits, int Rows>
void add_rows(const ValueKernel& self, const BlockWeights& weights, int rows, const std::uint8_t* block,
              const std::uint8_t* ahead, float* sums) {
  const auto& table = *static_cast<const RoundedTable*>(self.tables.get());
  const std::size_t stride = sum_stride(self);
  constexpr int kUnits = Rows == 8 ? 2 : 4;
  constexpr std::size_t kUnit = 128 * Bits;
  int left = self.spec.head_dim / 16;
  const auto step = [&]<int Units>() __attribute__((always_inline)) {
    add_units<Bits, Rows, Units>(table, weights, rows, block, ahead, stride, sums);
    block += kUnit * Units;
    if (ahead != nullptr) ahead += kUnit * Units;
    sums += 16 * Units;
    left -= Units;
  };
  while (left >= kUnits) step.template operator()<kUnits>();
  if (left >= 2) step.template operator()<2>();
  if (left > 0) step.template operator()<1>();
}

template <int Bits>
void add_block(const ValueKernel& self, const BlockWeights& weights, int rows, const std::uint8_t* block,
               const std::uint8_t* ahead, float* sums) {
  with_row_width(rows, [&]<int Rows>() { add_rows<Bits, Rows>(self, weights, rows, block, ahead, sums); });
}

}  // namespace

void prepare_scalar_bytes_avx512(const KeyKernel& self, const float* queries, std::size_t stride, int rows,
                                 std::byte* prepared) noexcept {
  auto& to = *reinterpret_cast<PreparedRows*>(prepared);
  const auto& table = *static_cast<const RoundedTable*>(self.tables.get());
  const int dims = self.spec.head_dim;
  const std::size_t quads = static_cast<std::size_t>(dims) / 4,
                    width = static_cast<std::size_t>(kernel_row_width(rows));
  if (static_cast<std::size_t>(rows) < width) __builtin_memset(to.bytes, 0, 4 * quads * width);
  for (int r = 0; r < kKernelRows; ++r) to.step[r] = 0;
  for (int r = 0; r < kKernelRows; ++r) to.bias[r] = 0;
  std::int8_t bytes[PreparedRows::kMaxHeadDim + 16];
  for (int r = 0; r < rows; ++r) {
    const float* query = queries + static_cast<std::size_t>(r) * stride;
    const float largest = largest_of_row(query, dims);
    const bool any = largest > 1e-30f;
    const std::int32_t sum = round_row(query, dims, any ? 127.0f / largest : 0.0f,
                                       [&](int c, __m512i whole)
                                           __attribute__((always_inline)) { store_bytes(whole, bytes + c); });
    spread_quads(bytes, quads, width, to.bytes + 4 * r);
    to.step[r] = any ? largest / 127.0f * table.step : 0.0f;
    to.bias[r] = 128 * sum;
  }
}

KeyKernel::Scores scalar_scores_avx512(int bits) noexcept {
  constexpr KeyKernel::Scores by_bits[] = {score_block<1>, score_block<2>, score_block<3>, score_block<4>};
  return bits <= 4 ? by_bits[bits - 1] : nullptr;
}

ValueKernel::Add scalar_add_avx512(int bits) noexcept {
  constexpr ValueKernel::Add by_bits[] = {add_block<1>, add_block<2>, add_block<3>, add_block<4>};
  return bits <= 4 ? by_bits[bits - 1] : nullptr;
}

}  // namespace veloxquant
#else
namespace veloxquant {
void prepare_scalar_bytes_avx512(const KeyKernel&, const float*, std::size_t, int, std::byte*) noexcept {}
KeyKernel::Scores scalar_scores_avx512(int) noexcept { return nullptr; }
ValueKernel::Add scalar_add_avx512(int) noexcept { return nullptr; }
}  // namespace veloxquant
#endif
