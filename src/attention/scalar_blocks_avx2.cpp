// Scalar codes of 1 to 4 bits on AVX2.
//
// A look-up is a byte shuffle of the table's 16 entries. vpmaddubsw multiplies unsigned by signed bytes and
// adds two neighbours to 16 bits; nothing is lost there (ProductSums::of_two):
//
//     keys     unsigned t + 128 <= 255, signed queries |q| + |q'| <= 128
//     values   unsigned weights w <= 255, signed |t| <= 64
//
// vpmaddwd by ones adds the pairs to 32 bits, where lanes are tokens (keys) or dimensions (values), as in the
// kernels of AVX-512. Sums of 4 rows x 2 half registers, or 8 x 1, stay in registers.
#include "attention/scalar_blocks.hpp"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

#include <utility>

#include "attention/block_rows.hpp"
#include "attention/planes_avx2.hpp"

#define VELOXQUANT_INLINE inline __attribute__((always_inline))

namespace veloxquant {
namespace {

constexpr int halves_of(int rows) { return rows == 8 ? 1 : 2; }

VELOXQUANT_INLINE __m256i broadcast4(const void* bytes) {
  std::int32_t four;
  __builtin_memcpy(&four, bytes, 4);
  return _mm256_set1_epi32(four);
}

// The table as it is, or biased to be unsigned.
VELOXQUANT_INLINE __m256i table_lanes(const RoundedTable& table, int bias) {
  const __m128i entries = _mm_load_si128(reinterpret_cast<const __m128i*>(table.values));
  return _mm256_add_epi8(_mm256_broadcastsi128_si256(entries), _mm256_set1_epi8(static_cast<char>(bias)));
}

VELOXQUANT_INLINE __m256i add_products(__m256i sums, __m256i unsigned_bytes, __m256i signed_bytes) {
  const __m256i pairs = _mm256_maddubs_epi16(unsigned_bytes, signed_bytes);
  __m256i added = _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  // Else the compiler adds up many products before the sum, for which there are no registers.
  asm("" : "+x"(added));
  return added;
}

// Asks for all of a share at once, so to the second cache, which has room for it.
VELOXQUANT_INLINE void prefetch(const std::uint8_t* begin, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; i += 64)
    _mm_prefetch(reinterpret_cast<const char*>(begin + i), _MM_HINT_T1);
}

// ---- keys: the halves [First, First + Halves) of token group Group ----

template <int Bits, int Rows, int Halves, int Group, int First>
VELOXQUANT_INLINE void score_halves(const RoundedTable& table, const PreparedRows& query, int head_dim,
                                    const std::uint8_t* block, int rows, float* scores) {
  constexpr std::size_t kUnit = 64 * Bits;  // bytes of 8 dimensions
  const __m256i biased = table_lanes(table, 128);
  __m256i sums[Rows][Halves];
  for (int r = 0; r < Rows; ++r) {
    for (int h = 0; h < Halves; ++h) sums[r][h] = _mm256_set1_epi32(-query.bias[r]);
  }
  const std::int8_t* bytes = query.bytes;
  for (int dim = 0; dim < head_dim; dim += 8, block += kUnit) {
    const auto quad = [&]<int Q>() __attribute__((always_inline)) {
      __m256i codes[Halves];
      for (int h = 0; h < Halves; ++h)
        codes[h] = _mm256_shuffle_epi8(biased, key_indices<Bits, 4 * Q + Group>(block, First + h));
      for (int r = 0; r < Rows; ++r, bytes += 4) {
        const __m256i four = broadcast4(bytes);
        for (int h = 0; h < Halves; ++h) sums[r][h] = add_products(sums[r][h], codes[h], four);
      }
    };
    quad.template operator()<0>();
    quad.template operator()<1>();
  }
  for (int r = 0; r < Rows && r < rows; ++r) {
    const __m256 step = _mm256_set1_ps(query.step[r]);
    for (int h = 0; h < Halves; ++h) {
      _mm256_store_ps(scores + r * kBlockTokens + 16 * Group + 8 * (First + h),
                      _mm256_mul_ps(_mm256_cvtepi32_ps(sums[r][h]), step));
    }
  }
}

template <int Bits, int Rows, int Group>
void score_group(const KeyKernel& self, const PreparedRows& query, int rows, const std::uint8_t* block,
                 float* scores) {
  constexpr int kHalves = halves_of(Rows);
  const auto& table = *static_cast<const RoundedTable*>(self.tables.get());
  score_halves<Bits, Rows, kHalves, Group, 0>(table, query, self.spec.head_dim, block, rows, scores);
  if constexpr (kHalves == 1)
    score_halves<Bits, Rows, kHalves, Group, 1>(table, query, self.spec.head_dim, block, rows, scores);
}

template <int Bits>
void score_block(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                 const std::uint8_t* ahead, int first_group, int groups, float* scores) {
  const auto& query = *reinterpret_cast<const PreparedRows*>(prepared);
  const std::size_t share = kBlockTokens / 4 * self.spec.code_bytes();  // of what is ahead, for a group
  with_row_width(rows, [&]<int Rows>() {
    constexpr decltype(&score_group<Bits, Rows, 0>) kByGroup[] = {
        score_group<Bits, Rows, 0>, score_group<Bits, Rows, 1>, score_group<Bits, Rows, 2>,
        score_group<Bits, Rows, 3>};
    for (int g = first_group; g < first_group + groups; ++g) {
      if (ahead != nullptr) prefetch(ahead + share * static_cast<std::size_t>(g), share);
      kByGroup[g](self, query, rows, block, scores);
    }
  });
}

// ---- values: half a unit of 16 dimensions, or both halves ----

template <int Bits, int Rows, int Halves>
VELOXQUANT_INLINE void add_halves(const RoundedTable& table, const BlockWeights& weights, int rows,
                                  const std::uint8_t* unit, int first, std::size_t stride, float* sums) {
  const __m256i values = table_lanes(table, 0);
  __m256i part[Rows][Halves];
  for (int r = 0; r < Rows; ++r) {
    for (int h = 0; h < Halves; ++h) part[r][h] = _mm256_setzero_si256();
  }
  constexpr int kQuads = value_step_quads(Bits);
  const std::uint8_t* four_weights = weights.u8;
  for (int step = 0; step < 16 / kQuads; ++step) {
    const auto quad = [&]<int Q>() __attribute__((always_inline)) {
      __m256i codes[Halves];
      for (int h = 0; h < Halves; ++h)
        codes[h] = _mm256_shuffle_epi8(values, value_indices<Bits, Q>(unit, step, first + h));
      for (int r = 0; r < Rows; ++r) {
        const __m256i four = broadcast4(four_weights + r * kBlockTokens);
        for (int h = 0; h < Halves; ++h) part[r][h] = add_products(part[r][h], four, codes[h]);
      }
      four_weights += 4;
    };
    [&]<int... Q>(std::integer_sequence<int, Q...>) __attribute__((always_inline)) {
      (quad.template operator()<Q>(), ...);
    }(std::make_integer_sequence<int, kQuads>());
  }
  for (int r = 0; r < Rows && r < rows; ++r) {
    const __m256 step = _mm256_set1_ps(weights.step[r] * table.step);
    for (int h = 0; h < Halves; ++h) {
      float* sum = sums + static_cast<std::size_t>(r) * stride + 8 * (first + h);
      _mm256_store_ps(sum, _mm256_fmadd_ps(_mm256_cvtepi32_ps(part[r][h]), step, _mm256_load_ps(sum)));
    }
  }
}

template <int Bits>
void add_block(const ValueKernel& self, const BlockWeights& weights, int rows, const std::uint8_t* block,
               const std::uint8_t* ahead, float* sums) {
  constexpr std::size_t kUnit = 128 * Bits;  // bytes of 16 dimensions
  const auto& table = *static_cast<const RoundedTable*>(self.tables.get());
  const std::size_t stride = sum_stride(self);
  with_row_width(rows, [&]<int Rows>() {
    constexpr int kHalves = halves_of(Rows);
    for (int dim = 0; dim < self.spec.head_dim; dim += 16, block += kUnit, sums += 16) {
      if (ahead != nullptr) {
        prefetch(ahead, kUnit);
        ahead += kUnit;
      }
      for (int half = 0; half < 2; half += kHalves)
        add_halves<Bits, Rows, kHalves>(table, weights, rows, block, half, stride, sums);
    }
  });
}

}  // namespace

KeyKernel::Scores scalar_scores_avx2(int bits) noexcept {
  constexpr KeyKernel::Scores by_bits[] = {score_block<1>, score_block<2>, score_block<3>, score_block<4>};
  return bits <= 4 ? by_bits[bits - 1] : nullptr;
}

ValueKernel::Add scalar_add_avx2(int bits) noexcept {
  constexpr ValueKernel::Add by_bits[] = {add_block<1>, add_block<2>, add_block<3>, add_block<4>};
  return bits <= 4 ? by_bits[bits - 1] : nullptr;
}

}  // namespace veloxquant
#else
namespace veloxquant {
KeyKernel::Scores scalar_scores_avx2(int) noexcept { return nullptr; }
ValueKernel::Add scalar_add_avx2(int) noexcept { return nullptr; }
}  // namespace veloxquant
#endif
