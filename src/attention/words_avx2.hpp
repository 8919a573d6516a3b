// Products of 16-bit words in AVX2 registers, for codes of plane order whose operands bytes would round too
// much. Only for files compiled for that level.
//
// The bytes of a register come apart into words, even and odd ones, and are looked up there if need be.
// vpmaddwd multiplies them by words of queries or weights, which stand in the same order
// (query_word_place()), and adds two products to each 32-bit lane, a token (keys) or a dimension (values).
#pragma once

#include <utility>

#include "attention/block_rows.hpp"
#include "attention/kernel_inline.hpp"
#include "attention/lanes_avx2.hpp"
#include "attention/plane_fields.hpp"

namespace veloxquant {

// Registers of a line whose sums are kept at once: with 8 rows there is room for one half of it.
constexpr int word_halves(int rows) noexcept { return rows == 8 ? 1 : 2; }

// Bytes of a register as words.
struct WordPair {
  __m256i even, odd;
};

VELOXQUANT_INLINE WordPair words_of(__m256i bytes) {
  return {_mm256_and_si256(bytes, _mm256_set1_epi16(255)), _mm256_srli_epi16(bytes, 8)};
}

// Adds products of four neighbours in every 32-bit lane; two even words and two odd ones stand at `words`.
VELOXQUANT_INLINE __m256i add_word_products(__m256i sums, WordPair codes, const void* words) {
  const auto* odd = static_cast<const std::byte*>(words) + 4;
  sums = _mm256_add_epi32(sums, _mm256_madd_epi16(codes.even, Avx2::broadcast4(words)));
  sums = _mm256_add_epi32(sums, _mm256_madd_epi16(codes.odd, Avx2::broadcast4(odd)));
  // Else the compiler adds up many products before the sum, for which there are no registers.
  asm("" : "+x"(sums));
  return sums;
}

// Keys: sums[row][half] += products of `dims` dimensions of token group Group with the queries at `words`.
// `look_up` makes words of codes.
template <int Bits, int Rows, int Halves, int Group, class LookUp>
VELOXQUANT_INLINE void add_key_words(const LookUp& look_up, const std::byte* words, int dims,
                                     const std::uint8_t* block, int first, __m256i (&sums)[Rows][Halves]) {
  for (int dim = 0; dim < dims; dim += 8, block += 64 * Bits) {
    const auto quad = [&]<int Q>() __attribute__((always_inline)) {
      WordPair codes[Halves];
      for (int h = 0; h < Halves; ++h)
        codes[h] = look_up(whole_codes<Avx2, Bits, 4 * Q + Group, 8>(block, first + h));
      for (int r = 0; r < Rows; ++r, words += 8) {
        for (int h = 0; h < Halves; ++h) sums[r][h] = add_word_products(sums[r][h], codes[h], words);
      }
    };
    quad.template operator()<0>();
    quad.template operator()<1>();
  }
}

// Calls score.operator()<Rows, Group>() for the token groups, and asks for their shares of what is ahead.
template <class Score>
VELOXQUANT_INLINE void score_groups(const KeyKernel& self, int rows, const std::uint8_t* ahead,
                                    int first_group, int groups, const Score& score) {
  const std::size_t share = kBlockTokens / 4 * self.spec.code_bytes();
  with_row_width(rows, [&]<int Rows>() {
    for (int g = first_group; g < first_group + groups; ++g) {
      if (ahead != nullptr) Avx2::prefetch(ahead + share * static_cast<std::size_t>(g), share);
      switch (g) {
        case 0:
          score.template operator()<Rows, 0>();
          break;
        case 1:
          score.template operator()<Rows, 1>();
          break;
        case 2:
          score.template operator()<Rows, 2>();
          break;
        default:
          score.template operator()<Rows, 3>();
      }
    }
  });
}

// The weights of a block as words: of the four tokens of a quad the even ones, then the odd ones.
struct alignas(32) WeightWords {
  std::int16_t words[kKernelRows][kBlockTokens];
};

// Words of 32 tokens, even and odd ones apart.
VELOXQUANT_INLINE void store_weight_words(WordPair weights, std::int16_t* to) {
  // Even and odd ones side by side: quads 0 1 | 4 5, and 2 3 | 6 7.
  const __m256i first = _mm256_unpacklo_epi32(weights.even, weights.odd),
                second = _mm256_unpackhi_epi32(weights.even, weights.odd);
  auto* words = reinterpret_cast<__m256i*>(to);
  _mm256_store_si256(words, _mm256_permute2x128_si256(first, second, 0x20));
  _mm256_store_si256(words + 1, _mm256_permute2x128_si256(first, second, 0x31));
}

// Values: sums[row][half] += products of the token quads of a unit of 16 dimensions with the weights.
template <int Bits, int Rows, int Halves, class LookUp>
VELOXQUANT_INLINE void add_value_words(const LookUp& look_up, const WeightWords& weights,
                                       const std::uint8_t* unit, int first, __m256i (&sums)[Rows][Halves]) {
  const auto quad = [&]<int Q>() __attribute__((always_inline)) {
    WordPair codes[Halves];
    for (int h = 0; h < Halves; ++h) codes[h] = look_up(whole_codes<Avx2, Bits, Q, 16>(unit, first + h));
    for (int r = 0; r < Rows; ++r) {
      for (int h = 0; h < Halves; ++h)
        sums[r][h] = add_word_products(sums[r][h], codes[h], weights.words[r] + 4 * Q);
    }
  };
  [&]<int... Q>(std::integer_sequence<int, Q...>) __attribute__((always_inline)) {
    (quad.template operator()<Q>(), ...);
  }(std::make_integer_sequence<int, 16>());
}

template <int Rows, int Halves>
VELOXQUANT_INLINE void clear(__m256i (&sums)[Rows][Halves]) {
  for (int r = 0; r < Rows; ++r) {
    for (int h = 0; h < Halves; ++h) sums[r][h] = _mm256_setzero_si256();
  }
}

}  // namespace veloxquant
