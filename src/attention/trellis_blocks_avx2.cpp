// Trellis codes on AVX2 (pack/word_order.hpp draws the blocks).
//
// Windows are cut out of shifted words as in the kernels of AVX-512, 32 at a time: of 8 tokens of keys, or of
// 8 dimensions of 4 tokens of values. A look-up in the 128 entries of an odd table is eight byte shuffles
// (ByteTable). That costs so much more than a product that products can be of 16 bits, and queries and
// weights need not be rounded to bytes (Operands::words).
#include "attention/trellis_blocks.hpp"

#if defined(__AVX2__) && defined(__FMA__)
#include "attention/byte_table_avx2.hpp"
#include "attention/kernel_inline.hpp"
#include "attention/trellis_windows.hpp"
#include "attention/words_avx2.hpp"

namespace veloxquant {
namespace {

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

// Eight tokens.
template <int Bits, int Rows>
void score_tokens(const KeyKernel& self, const LookUp& look_up, const std::byte* prepared, int rows,
                  const std::uint8_t* words, float* scores) {
  constexpr std::size_t kStep = kKeyWord * static_cast<std::size_t>(key_step_words(Bits));
  const auto& head = *reinterpret_cast<const TrellisQueryHead*>(prepared);
  const auto& table = *static_cast<const TrellisBytes*>(self.tables.get());
  const std::byte* query = prepared + sizeof(TrellisQueryHead);
  __m256i sums[Rows];
  for (int r = 0; r < Rows; ++r) sums[r] = _mm256_setzero_si256();
  const std::uint8_t* const end = words + kBlockTokens * self.spec.code_bytes();
  const std::uint8_t* const behind = words + table.behind;
  for (const std::uint8_t* word = words; word != end; word += kStep) {
    const std::uint8_t* const next = word + kStep == end ? behind : word + kStep;
    for_each<key_step_quads(Bits)>([&]<int Q>() __attribute__((always_inline)) {
      const WordPair codes = words_of(look_up(key_windows<Avx2, Bits, Q>(word, next)));
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
    const WordPair codes =
        words_of(look_up(value_windows<Avx2, Bits, Pair, Half>(block + 64 * q, line, lines)));
    for (int r = 0; r < Rows; ++r) part[r] = add_word_products(part[r], codes, weights.words[r] + 4 * q);
  }
  for (int r = 0; r < Rows && r < rows; ++r) {
    float* to = sums + static_cast<std::size_t>(r) * stride;
    const __m256i ordered = _mm256_shuffle_epi32(part[r], _MM_SHUFFLE(3, 1, 2, 0));
    const __m256 sum = _mm256_sub_ps(_mm256_cvtepi32_ps(ordered), _mm256_set1_ps(127.5f * weights.sum[r]));
    _mm256_storeu_ps(to,
                     _mm256_fmadd_ps(sum, _mm256_set1_ps(weights.step[r] * table_step), _mm256_loadu_ps(to)));
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
  const bool goes_on = !spec.is_part() || spec.behind.bytes >= 4;
  return has_whole_words(spec.head_dim, spec.bits, Role::keys) && goes_on ? by_bits[spec.bits - 1] : nullptr;
}

ValueKernel::Add trellis_add_avx2(const CodeSpec& spec) noexcept {
  constexpr ValueKernel::Add by_bits[] = {add_block<1>, add_block<2>, add_block<3>, add_block<4>};
  const bool lines = has_whole_words(spec.head_dim, spec.bits, Role::values) && !spec.is_part();
  return lines ? by_bits[spec.bits - 1] : nullptr;
}

}  // namespace veloxquant
#else
namespace veloxquant {
KeyKernel::Scores trellis_scores_avx2(const CodeSpec&) noexcept { return nullptr; }
ValueKernel::Add trellis_add_avx2(const CodeSpec&) noexcept { return nullptr; }
}  // namespace veloxquant
#endif
