// Scalar codes of 5 to 8 bits on AVX2: products of words (words_avx2.hpp).
//
// Tables are odd, so a look-up needs the entries of one half of the codes only: codes of the other half are
// turned to 2^bits - 1 - code before it, and the words' signs after it. The low and the high bytes of up to
// 128 entries are looked up apart, 16 entries a shuffle (ByteTable).
#include "attention/scalar_words.hpp"

#if defined(__AVX2__) && defined(__FMA__)
#include "attention/byte_table_avx2.hpp"
#include "attention/kernel_inline.hpp"
#include "attention/words_avx2.hpp"

namespace veloxquant {
namespace {

template <int Bits>
class TableWords {
 public:
  explicit TableWords(const WordTable& table) : low_(bytes_of(table, 0)), high_(bytes_of(table, 8)) {}

  VELOXQUANT_INLINE WordPair operator()(__m256i codes) const {
    const __m256i upper = _mm256_cmpgt_epi8(Bits == 8 ? _mm256_setzero_si256() : codes,
                                            Bits == 8 ? codes : Avx2::fill(kEntries - 1));
    const __m256i at = _mm256_and_si256(_mm256_xor_si256(codes, upper), Avx2::fill(kEntries - 1));
    // A complement is one less than the negative.
    const __m256i low = _mm256_xor_si256(low_(at), upper), high = _mm256_xor_si256(high_(at), upper);
    const __m256i low_bytes = _mm256_set1_epi16(255);
    const __m256i even = _mm256_or_si256(_mm256_and_si256(low, low_bytes), _mm256_slli_epi16(high, 8));
    const __m256i odd = _mm256_or_si256(_mm256_srli_epi16(low, 8), _mm256_andnot_si256(low_bytes, high));
    const __m256i one = _mm256_set1_epi16(1);
    return {_mm256_add_epi16(even, _mm256_and_si256(upper, one)),
            _mm256_add_epi16(odd, _mm256_srli_epi16(upper, 15))};
  }

 private:
  static constexpr int kEntries = 1 << (Bits - 1);

  static ByteTable<kEntries> bytes_of(const WordTable& table, int shift) {
    alignas(16) std::uint8_t bytes[kEntries];
    for (int i = 0; i < kEntries; ++i) bytes[i] = static_cast<std::uint8_t>(table.words[i] >> shift);
    return ByteTable<kEntries>(bytes);
  }

  ByteTable<kEntries> low_, high_;
};

// ---- keys ----

template <int Bits, int Rows, int Group>
void score_group(const TableWords<Bits>& look_up, const KeyKernel& self, const std::byte* prepared, int rows,
                 const std::uint8_t* block, float* scores) {
  constexpr int kHalves = word_halves(Rows);
  const auto& head = *reinterpret_cast<const WordQueryHead*>(prepared);
  for (int first = 0; first < 2; first += kHalves) {
    __m256i sums[Rows][kHalves];
    clear(sums);
    add_key_words<Bits, Rows, kHalves, Group>(look_up, prepared + sizeof(WordQueryHead), self.spec.head_dim,
                                              block, first, sums);
    for (int r = 0; r < Rows && r < rows; ++r) {
      for (int h = 0; h < kHalves; ++h)
        Avx2::store(scores + r * kBlockTokens + 16 * Group + 8 * (first + h), sums[r][h], head.step[r]);
    }
  }
}

template <int Bits>
void score_block(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                 const std::uint8_t* ahead, int first_group, int groups, float* scores) {
  const TableWords<Bits> look_up(*static_cast<const WordTable*>(self.tables.get()));
  score_groups(self, rows, ahead, first_group, groups, [&]<int Rows, int Group>() {
    score_group<Bits, Rows, Group>(look_up, self, prepared, rows, block, scores);
  });
}

// ---- values ----

// Weights up to kWeightTop, 8 times coarser than given.
VELOXQUANT_INLINE __m256i coarse(__m256i high, __m256i low) {
  const __m256i words = _mm256_or_si256(_mm256_slli_epi16(high, 8), low);
  return _mm256_srli_epi16(_mm256_adds_epu16(words, _mm256_set1_epi16(4)), 3);
}

void split_weights(const BlockWeights& weights, int rows, WeightWords& to) {
  for (int r = 0; r < rows; ++r) {
    for (int t = 0; t < kBlockTokens; t += 32) {
      const int at = r * kBlockTokens + t;
      const WordPair high = words_of(Avx2::load(weights.u8 + at)),
                     low = words_of(Avx2::load(weights.low + at));
      store_weight_words({coarse(high.even, low.even), coarse(high.odd, low.odd)}, to.words[r] + t);
    }
  }
}

template <int Bits, int Rows>
void add_unit(const TableWords<Bits>& look_up, const WeightWords& words, const float* step, int rows,
              const std::uint8_t* unit, std::size_t stride, float* sums) {
  constexpr int kHalves = word_halves(Rows);
  for (int first = 0; first < 2; first += kHalves) {
    __m256i part[Rows][kHalves];
    clear(part);
    add_value_words<Bits, Rows, kHalves>(look_up, words, unit, first, part);
    for (int r = 0; r < Rows && r < rows; ++r) {
      for (int h = 0; h < kHalves; ++h)
        Avx2::add(sums + static_cast<std::size_t>(r) * stride + 8 * (first + h), part[r][h], step[r]);
    }
  }
}

template <int Bits>
void add_block(const ValueKernel& self, const BlockWeights& weights, int rows, const std::uint8_t* block,
               const std::uint8_t* ahead, float* sums) {
  constexpr std::size_t kUnit = 128 * Bits;
  const auto& table = *static_cast<const WordTable*>(self.tables.get());
  const TableWords<Bits> look_up(table);
  const std::size_t stride = sum_stride(self);
  WeightWords words;
  split_weights(weights, kernel_row_width(rows), words);
  float step[kKernelRows];
  for (int r = 0; r < kKernelRows; ++r) step[r] = 8 * weights.step[r] * table.step;
  with_row_width(rows, [&]<int Rows>() {
    for (int dim = 0; dim < self.spec.head_dim; dim += 16, block += kUnit, sums += 16) {
      if (ahead != nullptr) {
        Avx2::prefetch(ahead, kUnit);
        ahead += kUnit;
      }
      add_unit<Bits, Rows>(look_up, words, step, rows, block, stride, sums);
    }
  });
}

}  // namespace

KeyKernel::Scores scalar_word_scores_avx2(int bits) noexcept {
  constexpr KeyKernel::Scores by_bits[] = {score_block<5>, score_block<6>, score_block<7>, score_block<8>};
  return bits >= 5 ? by_bits[bits - 5] : nullptr;
}

ValueKernel::Add scalar_word_add_avx2(int bits) noexcept {
  constexpr ValueKernel::Add by_bits[] = {add_block<5>, add_block<6>, add_block<7>, add_block<8>};
  return bits >= 5 ? by_bits[bits - 5] : nullptr;
}

}  // namespace veloxquant
#else
namespace veloxquant {
KeyKernel::Scores scalar_word_scores_avx2(int) noexcept { return nullptr; }
ValueKernel::Add scalar_word_add_avx2(int) noexcept { return nullptr; }
}  // namespace veloxquant
#endif
