// Trellis codes on AVX2 (pack/word_order.hpp draws the blocks).
//
// Windows are cut out of shifted words as in the kernels of AVX-512, 32 at a time: of 8 tokens of keys, or of
// 8 dimensions of 4 tokens of values. A look-up in the 128 entries of an odd table is eight byte shuffles
// (ByteTable). That costs so much more than a product that products can be of 16 bits, and queries and weights need
// not be rounded to bytes (Operands::words).
#include "attention/trellis_blocks.hpp"

#if defined(__AVX2__) && defined(__FMA__)
#include <utility>

#include "attention/byte_table_avx2.hpp"
#include "attention/words_avx2.hpp"
#include "pack/word_order.hpp"

namespace veloxquant {
namespace {

// call.operator()<0>() to call.operator()<Count - 1>().
template <int Count, class Call>
VELOXQUANT_INLINE void for_each(const Call& call) {
  [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    (call.template operator()<I>(), ...);
  }(std::make_integer_sequence<int, Count>());
}

// Windows to bytes of the table.
class LookUp {
 public:
  explicit LookUp(const TrellisBytes& table) : table_(table.bytes) {}
  VELOXQUANT_INLINE __m256i operator()(__m256i windows) const {
    const __m256i negative = _mm256_cmpgt_epi8(_mm256_setzero_si256(), windows);
    return _mm256_xor_si256(negative, table_(_mm256_xor_si256(windows, negative)));
  }

 private:
  ByteTable<128> table_;
};

// ---- keys ----

constexpr std::size_t kKeyWord = 4 * kBlockTokens;  // bytes from a word of a string to the next

// Bits [Shift, Shift + 32) of two words.
template <int Shift>
VELOXQUANT_INLINE __m256i joined_words(const std::uint8_t* word, const std::uint8_t* next) {
  if constexpr (Shift == 0) return Avx2::load(word);
  return _mm256_or_si256(_mm256_srli_epi32(Avx2::load(word), Shift),
                         _mm256_slli_epi32(Avx2::load(next), 32 - Shift));
}

// Every lane shifted right by Shift bits, left if negative.
template <int Shift>
VELOXQUANT_INLINE __m256i shifted(__m256i x) {
  if constexpr (Shift >= 0) return _mm256_srli_epi32(x, Shift);
  return _mm256_slli_epi32(x, -Shift);
}

// Byte K of a lane <- its bits [First + 3 K, First + 3 K + 8).
template <int First>
VELOXQUANT_INLINE __m256i windows_of_three_bits(__m256i x) {
  const __m256i low_bytes = _mm256_set1_epi16(255);
  const auto pair = [&](__m256i low, __m256i high) __attribute__((always_inline)) {
    return _mm256_or_si256(_mm256_and_si256(low, low_bytes), _mm256_andnot_si256(low_bytes, high));
  };
  return _mm256_blend_epi16(pair(shifted<First>(x), shifted<First - 5>(x)),
                            pair(shifted<First - 10>(x), shifted<First - 15>(x)), 0xaa);
}

// Quad Q of a step that begins at `word`; `next` is the word behind the step.
template <int Bits, int Q>
VELOXQUANT_INLINE __m256i key_windows(const std::uint8_t* word, const std::uint8_t* next) {
  if constexpr (Bits == 3) {
    constexpr int kPart = Q / 2;  // 24 bits each
    constexpr int kWord = kPart == 0 ? 0 : kPart - 1;
    const __m256i part =
        joined_words < kPart == 0
            ? 0
            : 32 - 8 * kPart > (word + kWord * kKeyWord, kPart < 3 ? word + kPart * kKeyWord : next);
    return windows_of_three_bits<Q % 2 * 12>(part);
  } else {
    return joined_words<Q * Bits>(word, next);
  }
}

// Eight tokens.
template <int Bits, int Rows>
void score_tokens(const KeyKernel& self, const LookUp& look_up, const std::byte* prepared, int rows,
                  const std::uint8_t* words, float* scores) {
  constexpr std::size_t kStep = kKeyWord * static_cast<std::size_t>(key_step_words(Bits));
  const auto& head = *reinterpret_cast<const TrellisQueryHead*>(prepared);
  const std::byte* query = prepared + sizeof(TrellisQueryHead);
  __m256i sums[Rows];
  for (int r = 0; r < Rows; ++r) sums[r] = _mm256_setzero_si256();
  const std::uint8_t* const end = words + kBlockTokens * self.spec.code_bytes();
  for (const std::uint8_t* word = words; word != end; word += kStep) {
    const std::uint8_t* const next = word + kStep == end ? words : word + kStep;
    for_each<key_step_quads(Bits)>([&]<int Q>() __attribute__((always_inline)) {
      const WordPair codes = words_of(look_up(key_windows<Bits, Q>(word, next)));
      for (int r = 0; r < Rows; ++r, query += 8) sums[r] = add_word_products(sums[r], codes, query);
    });
  }
  for (int r = 0; r < Rows && r < rows; ++r) {
    const __m256 step = _mm256_set1_ps(head.step[r]), bias = _mm256_set1_ps(-head.bias[r] * head.step[r]);
    _mm256_store_ps(scores + r * kBlockTokens, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[r]), step, bias));
  }
}

template <int Bits>
void score_block(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                 const std::uint8_t* ahead, int first_group, int groups, float* scores) {
  const LookUp look_up(*static_cast<const TrellisBytes*>(self.tables.get()));
  with_row_width(rows, [&]<int Rows>() {
    for (int t = 16 * first_group; t < 16 * (first_group + groups); t += 8) {
      if (ahead != nullptr && t % 16 == 0) {
        for (std::size_t at = 0; at < kBlockTokens * self.spec.code_bytes(); at += kKeyWord)
          Avx2::prefetch(ahead + at + 4 * t, 64);
      }
      score_tokens<Bits, Rows>(self, look_up, prepared, rows, block + 4 * t, scores + t);
    }
  });
}

// ---- values ----

constexpr std::size_t kValueLine = 64 * kBlockTokens / 4;  // bytes from a line of a token quad to its next

// Half of line `line` of a token quad's string, whose lines behind the last are the first ones, one half (of
// the string's words) further on.
template <int Half>
VELOXQUANT_INLINE __m256i value_line(const std::uint8_t* quad, int line, int lines) {
  if (line < lines) return Avx2::load(quad + kValueLine * static_cast<std::size_t>(line) + 32 * Half);
  if constexpr (Half == 0) return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(quad + 8));
  std::int64_t begin;
  __builtin_memcpy(&begin, quad, 8);
  const __m256i last = _mm256_blend_epi32(Avx2::load(quad + 32), _mm256_set1_epi64x(begin), 3);
  return _mm256_permute4x64_epi64(last, _MM_SHUFFLE(0, 3, 2, 1));
}

// Pair of dimensions `Pair` of a step. The four tokens of a dimension stand in a 32-bit lane; the lanes of a
// 128-bit block are, of its two places in the string, the first dimensions, then the second ones.
template <int Bits, int Pair, int Half>
VELOXQUANT_INLINE __m256i value_windows(const std::uint8_t* quad, int line, int lines) {
  constexpr PairPlace kPlace = pair_place(Bits, Pair);
  __m256i halves = value_line<Half>(quad, line + kPlace.line, lines);
  if constexpr (kPlace.shift > 0) {
    const __m256i next = value_line<Half>(quad, line + kPlace.line + 1, lines);
    halves =
        _mm256_or_si256(_mm256_srli_epi16(halves, kPlace.shift), _mm256_slli_epi16(next, 16 - kPlace.shift));
  }
  const auto windows = [&](int offset) __attribute__((always_inline)) {
    return _mm256_and_si256(_mm256_srli_epi16(halves, offset), _mm256_set1_epi16(255));
  };
  return _mm256_packus_epi16(windows(kPlace.offset), windows(kPlace.offset + Bits));
}

// The weights of a block as words of 15 bits, weight = step * word.
struct SummedWeights : WeightWords {
  float step[kKernelRows], sum[kKernelRows];
};

VELOXQUANT_INLINE __m256i weight_words(__m256i high, __m256i low, bool wide) {
  return wide ? _mm256_srli_epi16(_mm256_or_si256(_mm256_slli_epi16(high, 8), low), 1) : high;
}

void split_weights(const BlockWeights& weights, int rows, bool wide, SummedWeights& to) {
  const __m256i ones = _mm256_set1_epi16(1);
  for (int r = 0; r < rows; ++r) {
    __m256i sums = _mm256_setzero_si256();
    for (int t = 0; t < kBlockTokens; t += 32) {
      const int at = r * kBlockTokens + t;
      const WordPair high = words_of(Avx2::load(weights.u8 + at)),
                     low = wide ? words_of(Avx2::load(weights.low + at)) : high;
      const WordPair words = {weight_words(high.even, low.even, wide), weight_words(high.odd, low.odd, wide)};
      store_weight_words(words, to.words[r] + t);
      sums = _mm256_add_epi32(sums, _mm256_madd_epi16(words.even, ones));
      sums = _mm256_add_epi32(sums, _mm256_madd_epi16(words.odd, ones));
    }
    alignas(32) std::int32_t lanes[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), sums);
    std::int32_t sum = 0;
    for (const std::int32_t lane : lanes) sum += lane;
    to.sum[r] = static_cast<float>(sum);
    to.step[r] = wide ? 2 * weights.step[r] : weights.step[r];
  }
}

// Eight sums of each row: half a pair of dimensions of the step at `line`.
template <int Bits, int Rows, int Pair, int Half>
VELOXQUANT_INLINE void add_half(const LookUp& look_up, const SummedWeights& weights, float table_step,
                                int rows, const std::uint8_t* block, int line, int lines, std::size_t stride,
                                float* sums) {
  __m256i part[Rows];
  for (int r = 0; r < Rows; ++r) part[r] = _mm256_setzero_si256();
  for (int q = 0; q < kBlockTokens / 4; ++q) {
    const WordPair codes = words_of(look_up(value_windows<Bits, Pair, Half>(block + 64 * q, line, lines)));
    for (int r = 0; r < Rows; ++r) part[r] = add_word_products(part[r], codes, weights.words[r] + 4 * q);
  }
  for (int r = 0; r < Rows && r < rows; ++r) {
    float* to = sums + static_cast<std::size_t>(r) * stride;
    const __m256i ordered = _mm256_shuffle_epi32(part[r], _MM_SHUFFLE(3, 1, 2, 0));
    const __m256 sum = _mm256_sub_ps(_mm256_cvtepi32_ps(ordered), _mm256_set1_ps(127.5f * weights.sum[r]));
    _mm256_store_ps(to,
                    _mm256_fmadd_ps(sum, _mm256_set1_ps(weights.step[r] * table_step), _mm256_load_ps(to)));
  }
}

template <int Bits>
void add_block(const ValueKernel& self, const BlockWeights& weights, int rows, const std::uint8_t* block,
               const std::uint8_t* ahead, float* sums) {
  constexpr int kPairs = value_step_pairs(Bits);
  const auto& table = *static_cast<const TrellisBytes*>(self.tables.get());
  const LookUp look_up(table);
  const std::size_t stride = sum_stride(self);
  const int lines = self.spec.head_dim * Bits / 128;
  SummedWeights words;
  split_weights(weights, kernel_row_width(rows), trellis_is_wide(Bits), words);
  with_row_width(rows, [&]<int Rows>() {
    for (int line = 0; line < lines; line += value_step_lines(Bits), sums += 16 * kPairs) {
      if (ahead != nullptr) {
        const std::uint8_t* from = ahead + kValueLine * static_cast<std::size_t>(line);
        Avx2::prefetch(from, kValueLine * value_step_lines(Bits));
      }
      for_each<kPairs>([&]<int Pair>() __attribute__((always_inline)) {
        add_half<Bits, Rows, Pair, 0>(look_up, words, table.step, rows, block, line, lines, stride,
                                      sums + 16 * Pair);
        add_half<Bits, Rows, Pair, 1>(look_up, words, table.step, rows, block, line, lines, stride,
                                      sums + 16 * Pair + 8);
      });
    }
  });
}

}  // namespace

KeyKernel::Scores trellis_scores_avx2(const CodeSpec& spec) noexcept {
  constexpr KeyKernel::Scores by_bits[] = {score_block<1>, score_block<2>, score_block<3>, score_block<4>};
  return has_whole_words(spec.head_dim, spec.bits, Role::keys) ? by_bits[spec.bits - 1] : nullptr;
}

ValueKernel::Add trellis_add_avx2(const CodeSpec& spec) noexcept {
  constexpr ValueKernel::Add by_bits[] = {add_block<1>, add_block<2>, add_block<3>, add_block<4>};
  return has_whole_words(spec.head_dim, spec.bits, Role::values) ? by_bits[spec.bits - 1] : nullptr;
}

}  // namespace veloxquant
#else
namespace veloxquant {
KeyKernel::Scores trellis_scores_avx2(const CodeSpec&) noexcept { return nullptr; }
ValueKernel::Add trellis_add_avx2(const CodeSpec&) noexcept { return nullptr; }
}  // namespace veloxquant
#endif
