// Scalar codes of 5 to 8 bits on AVX-512 with VNNI.
//
// The bytes of a register come apart into words, even and odd ones; word shuffles of 32 or 64 entries look
// them up, and vpdpwssd adds two products to each 32-bit lane, a token (keys) or a dimension (values).
#include "attention/scalar_words.hpp"

#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
#include <immintrin.h>

#include <utility>

#include "attention/block_rows.hpp"
#include "attention/kernel_inline.hpp"
#include "attention/planes_avx512.hpp"

namespace veloxquant {
namespace {

// Indices, the low `Bits` bits of every word, to words of the table. Bits above do not matter.
template <int Bits>
class WordLookUp {
 public:
  VELOXQUANT_INLINE explicit WordLookUp(const WordTable& table) {
    for (int i = 0; i < kRegisters; ++i) entries_[i] = _mm512_load_si512(table.words + 32 * i);
  }

  VELOXQUANT_INLINE __m512i operator()(__m512i at) const {
    if constexpr (Bits == 5) return _mm512_permutexvar_epi16(at, entries_[0]);
    if constexpr (Bits == 6) return of_64<0>(at);
    if constexpr (Bits == 7) return of_128<0>(at);
    if constexpr (Bits == 8)
      return _mm512_mask_mov_epi16(of_128<0>(at), _mm512_test_epi16_mask(at, _mm512_set1_epi16(128)),
                                   of_128<1>(at));
  }

 private:
  static constexpr int kRegisters = 1 << (Bits - 5);

  template <int Part>
  VELOXQUANT_INLINE __m512i of_64(__m512i at) const {
    return _mm512_permutex2var_epi16(entries_[2 * Part], at, entries_[2 * Part + 1]);
  }
  template <int Part>
  VELOXQUANT_INLINE __m512i of_128(__m512i at) const {
    return _mm512_mask_mov_epi16(of_64<2 * Part>(at), _mm512_test_epi16_mask(at, _mm512_set1_epi16(64)),
                                 of_64<2 * Part + 1>(at));
  }

  __m512i entries_[kRegisters];
};

// Products of the looked-up codes of a register with the words of each row, even ones and odd ones:
// sums[row] += codes . words(row).
template <int Rows, class LookUp, class Even, class Odd>
VELOXQUANT_INLINE void add_products(const LookUp& look_up, __m512i codes, const Even& even, const Odd& odd,
                                    __m512i (&sums)[Rows]) {
  const __m512i evens = look_up(codes), odds = look_up(_mm512_srli_epi16(codes, 8));
  for (int r = 0; r < Rows; ++r) {
    sums[r] = _mm512_dpwssd_epi32(sums[r], evens, broadcast4(even(r)));
    sums[r] = _mm512_dpwssd_epi32(sums[r], odds, broadcast4(odd(r)));
    // Else the compiler looks up far ahead, for which there are no registers.
    asm("" : "+v"(sums[r]));
  }
}

// ---- keys: token groups [First, First + Groups) ----

template <int Bits, int Rows, int Groups, int First>
void score_groups(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                  const std::uint8_t* ahead, float* scores) {
  constexpr std::size_t kUnit = 64 * Bits;  // bytes of 8 dimensions
  const WordLookUp<Bits> look_up(*static_cast<const WordTable*>(self.tables.get()));
  const auto& head = *reinterpret_cast<const WordQueryHead*>(prepared);
  const std::byte* words = prepared + sizeof(WordQueryHead);
  __m512i sums[Groups][Rows];
  for (int g = 0; g < Groups; ++g) {
    for (int r = 0; r < Rows; ++r) sums[g][r] = _mm512_setzero_si512();
  }
  for (int dim = 0; dim < self.spec.head_dim; dim += 8, block += kUnit) {
    if (ahead != nullptr) {
      prefetch(ahead, kUnit);
      ahead += kUnit;
    }
    const auto quad = [&]<int Q>() __attribute__((always_inline)) {
      const auto group = [&]<int G>() __attribute__((always_inline)) {
        if constexpr (G < Groups) {
          add_products<Rows>(
              look_up, whole_codes<Bits, 4 * Q + First + G, 8>(block), [&](int r) { return words + 8 * r; },
              [&](int r) { return words + 8 * r + 4; }, sums[G]);
        }
      };
      group.template operator()<0>();
      group.template operator()<1>();
      words += 8 * Rows;
    };
    quad.template operator()<0>();
    quad.template operator()<1>();
  }
  for (int r = 0; r < Rows && r < rows; ++r) {
    for (int g = 0; g < Groups; ++g) {
      _mm512_store_ps(scores + r * kBlockTokens + 16 * (First + g),
                      _mm512_mul_ps(_mm512_cvtepi32_ps(sums[g][r]), _mm512_set1_ps(head.step[r])));
    }
  }
}

template <int Bits, int Rows>
void score_rows(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                const std::uint8_t* ahead, int first_group, int groups, float* scores) {
  if (Rows < 8 && groups == 4) {
    constexpr int kPair = Rows < 8 ? 2 : 1;
    score_groups<Bits, Rows, kPair, 0>(self, prepared, rows, block, ahead, scores);
    return score_groups<Bits, Rows, kPair, 2>(self, prepared, rows, block, nullptr, scores);
  }
  constexpr decltype(&score_groups<Bits, Rows, 1, 0>) kByGroup[] = {
      score_groups<Bits, Rows, 1, 0>, score_groups<Bits, Rows, 1, 1>, score_groups<Bits, Rows, 1, 2>,
      score_groups<Bits, Rows, 1, 3>};
  for (int g = first_group; g < first_group + groups; ++g)
    kByGroup[g](self, prepared, rows, block, g == first_group ? ahead : nullptr, scores);
}

template <int Bits>
void score_block(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                 const std::uint8_t* ahead, int first_group, int groups, float* scores) {
  with_row_width(rows, [&]<int Rows>() {
    score_rows<Bits, Rows>(self, prepared, rows, block, ahead, first_group, groups, scores);
  });
}

// ---- values ----

// The weights of a block up to kWeightTop, even and odd tokens of its quads apart; 8 times coarser than
// given.
struct alignas(64) WeightWords {
  std::int16_t even[kKernelRows][kBlockTokens / 2], odd[kKernelRows][kBlockTokens / 2];
};

VELOXQUANT_INLINE __m512i weight_words(__m512i high, __m512i low) {
  const __m512i words = _mm512_or_si512(_mm512_slli_epi16(high, 8), low);
  return _mm512_srli_epi16(_mm512_adds_epu16(words, _mm512_set1_epi16(4)), 3);
}

void split_weights(const BlockWeights& weights, int rows, WeightWords& to) {
  const __m512i low_bytes = _mm512_set1_epi16(255);
  for (int r = 0; r < rows; ++r) {
    const __m512i high = _mm512_load_si512(weights.u8 + r * kBlockTokens);
    const __m512i low = _mm512_load_si512(weights.low + r * kBlockTokens);
    _mm512_store_si512(to.even[r], weight_words(high, _mm512_and_si512(low, low_bytes)));
    _mm512_store_si512(to.odd[r], weight_words(_mm512_srli_epi16(high, 8), _mm512_srli_epi16(low, 8)));
  }
}

// Units of 16 dimensions [0, Units): all token quads.
template <int Bits, int Rows, int Units>
VELOXQUANT_INLINE void add_units(const WordTable& table, const WeightWords& words,
                                 const BlockWeights& weights, int rows, const std::uint8_t* block,
                                 const std::uint8_t* ahead, std::size_t stride, float* sums) {
  constexpr std::size_t kUnit = 128 * Bits;
  const WordLookUp<Bits> look_up(table);
  __m512i part[Units][Rows];
  for (int u = 0; u < Units; ++u) {
    for (int r = 0; r < Rows; ++r) part[u][r] = _mm512_setzero_si512();
  }
  if (ahead != nullptr) prefetch(ahead, kUnit * Units);
  const auto quad = [&]<int Q>() __attribute__((always_inline)) {
    for (std::size_t u = 0; u < Units; ++u) {
      add_products<Rows>(
          look_up, whole_codes<Bits, Q, 16>(block + kUnit * u), [&](int r) { return words.even[r] + 2 * Q; },
          [&](int r) { return words.odd[r] + 2 * Q; }, part[u]);
    }
  };
  [&]<int... Q>(std::integer_sequence<int, Q...>) __attribute__((always_inline)) {
    (quad.template operator()<Q>(), ...);
  }(std::make_integer_sequence<int, 16>());
  for (int r = 0; r < Rows && r < rows; ++r) {
    const __m512 step = _mm512_set1_ps(8 * weights.step[r] * table.step);
    for (int u = 0; u < Units; ++u) {
      float* to = sums + static_cast<std::size_t>(r) * stride + 16 * u;
      _mm512_storeu_ps(to, _mm512_fmadd_ps(_mm512_cvtepi32_ps(part[u][r]), step, _mm512_loadu_ps(to)));
    }
  }
}

template <int Bits>
void add_block(const ValueKernel& self, const BlockWeights& weights, int rows, const std::uint8_t* block,
               const std::uint8_t* ahead, float* sums) {
  constexpr std::size_t kUnit = 128 * Bits;
  const auto& table = *static_cast<const WordTable*>(self.tables.get());
  const std::size_t stride = sum_stride(self);
  WeightWords words;
  split_weights(weights, kernel_row_width(rows), words);
  with_row_width(rows, [&]<int Rows>() {
    constexpr int kUnits = Rows == 8 ? 1 : 2;
    int left = self.spec.head_dim / 16;
    const auto add = [&]<int Units>() __attribute__((always_inline)) {
      add_units<Bits, Rows, Units>(table, words, weights, rows, block, ahead, stride, sums);
      block += kUnit * Units;
      if (ahead != nullptr) ahead += kUnit * Units;
      sums += 16 * Units;
      left -= Units;
    };
    while (left >= kUnits) add.template operator()<kUnits>();
    if (left > 0) add.template operator()<1>();
  });
}

}  // namespace

KeyKernel::Scores scalar_word_scores_avx512(int bits) noexcept {
  constexpr KeyKernel::Scores by_bits[] = {score_block<5>, score_block<6>, score_block<7>, score_block<8>};
  return bits >= 5 ? by_bits[bits - 5] : nullptr;
}

ValueKernel::Add scalar_word_add_avx512(int bits) noexcept {
  constexpr ValueKernel::Add by_bits[] = {add_block<5>, add_block<6>, add_block<7>, add_block<8>};
  return bits >= 5 ? by_bits[bits - 5] : nullptr;
}

}  // namespace veloxquant
#else
namespace veloxquant {
KeyKernel::Scores scalar_word_scores_avx512(int) noexcept { return nullptr; }
ValueKernel::Add scalar_word_add_avx512(int) noexcept { return nullptr; }
}  // namespace veloxquant
#endif
