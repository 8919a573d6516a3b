// Trellis codes on AVX-512 with VBMI, VBMI2, VNNI and GFNI (pack/word_order.hpp draws the blocks).
//
// Windows are bytes of shifted words: a double shift brings in the bits of the next word of the same 16
// tokens. For 1, 2 and 4 bits, byte k of the words shifted by m * bits is the window of dimension 8 k / bits
// + m of the word; for 3 bits a multishift picks 4 windows out of 24 bits. Values shift 16-bit halves, and a
// multishift takes two windows of each half, which leaves four tokens of a dimension in each 32-bit lane.
//
// A look-up is four instructions for 64 windows (trellis_blocks.hpp: the table is odd), then come the dot
// products of bytes as in the kernels of scalar codes.
#include "attention/trellis_blocks.hpp"

#if defined(__AVX512VNNI__) && defined(__AVX512VBMI__) && defined(__AVX512VBMI2__) && defined(__GFNI__)
#include <immintrin.h>

#include "attention/block_rows.hpp"
#include "attention/query_bytes_avx512.hpp"
#include "attention/trellis_avx512.hpp"
#include "pack/word_order.hpp"

namespace veloxquant {
namespace {

// ---- keys ----

constexpr std::size_t kKeyWord = 4 * kBlockTokens;  // bytes from a word of a string to the next

constexpr std::uint64_t key_places(int first_bit) {
  std::uint64_t places = 0;
  for (int k = 0; k < 8; ++k)
    places |= static_cast<std::uint64_t>(32 * (k / 4) + first_bit + 3 * (k % 4)) << (8 * k);
  return places;
}

// A row's bytes in the order of `dims`, whole quads; those behind the row, where `dims` may point, are zero.
void order_bytes(const std::int8_t* row, const std::vector<std::uint16_t>& dims, std::int8_t* ordered) {
  if (dims.size() > 128) {
    for (std::size_t i = 0; i < dims.size(); ++i) ordered[i] = row[dims[i]];
    return;
  }
  const __m512i low = load(row), high = load(row + 64);
  for (std::size_t i = 0; i < dims.size(); i += 16) {
    const auto lanes = static_cast<__mmask16>(dims.size() - i >= 16 ? 0xffff : (1 << (dims.size() - i)) - 1);
    const __m128i at = _mm256_cvtepi16_epi8(_mm256_maskz_loadu_epi16(lanes, dims.data() + i));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(ordered + i),
                     _mm512_castsi512_si128(_mm512_permutex2var_epi8(low, _mm512_castsi128_si512(at), high)));
  }
}

// Quad Q of a step that begins at `word`; `next` is the word behind the step.
template <int Bits, int Q>
inline __attribute__((always_inline)) __m512i key_windows(const std::uint8_t* word,
                                                          const std::uint8_t* next) {
  if constexpr (Bits == 3) {
    constexpr int kPart = Q / 2;  // 24 bits each
    __m512i part = load(word);
    if constexpr (kPart > 0) {
      part = _mm512_shrdi_epi32(load(word + (kPart - 1) * kKeyWord),
                                load(kPart < 3 ? word + kPart * kKeyWord : next), 32 - 8 * kPart);
    }
    return _mm512_multishift_epi64_epi8(_mm512_set1_epi64(static_cast<long long>(key_places(Q % 2 * 12))),
                                        part);
  } else {
    if constexpr (Q == 0) return load(word);
    return _mm512_shrdi_epi32(load(word), load(next), Q * Bits);
  }
}

// The last bytes of the strings of a group, fewer than four, behind the whole words of a section, in 32-bit
// lanes.
inline __m512i last_bytes(const std::uint8_t* section, std::size_t code_bytes, std::size_t group) {
  const std::size_t left = code_bytes % 4;
  const std::uint8_t* bytes = section + kKeyWord * (code_bytes / 4);
  __m512i rest = _mm512_setzero_si512();
  if (left >= 2)
    rest = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + 32 * group)));
  if (left % 2 == 1) {
    const __m512i last = _mm512_cvtepu8_epi32(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + kBlockTokens * (left - 1) + 16 * group)));
    rest = _mm512_or_si512(rest, left == 3 ? _mm512_slli_epi32(last, 16) : last);
  }
  return rest;
}

// The end of a section's strings: words that make no whole step, the bytes behind them, and as much of what
// follows as windows want. Rows of words as in a block; what lies beyond is never counted, since queries have
// zeros there.
template <int Bits, int Groups>
class EndOfStrings {
 public:
  static constexpr std::size_t kWords = static_cast<std::size_t>(key_step_words(Bits));

  EndOfStrings(const std::uint8_t* block, std::size_t code_bytes, const TrellisBytes& table, int first) {
    const std::size_t whole = code_bytes / 4, left = code_bytes % 4, begin = whole / kWords * kWords;
    const std::uint8_t* const behind = block + table.behind;
    makes_step_ = left > 0 || begin < whole;
    next_ = behind + 64 * first;
    if (!makes_step_ && table.behind_bytes >= 4) return;
    for (std::size_t g = 0; g < Groups; ++g) {
      const std::size_t group = static_cast<std::size_t>(first) + g;
      std::size_t word = begin;
      for (; word < whole; ++word) put(word - begin, g, load(block + kKeyWord * word + 64 * group));
      const __m512i follows =
          table.behind_bytes >= 4 ? load(behind + 64 * group) : last_bytes(behind, table.behind_bytes, group);
      const __m512i shift = _mm512_set1_epi32(static_cast<int>(8 * left));
      put(word - begin, g,
          _mm512_or_si512(last_bytes(block, code_bytes, group), _mm512_sllv_epi32(follows, shift)));
    }
    next_ = words_;
  }
  // Whether there is a step here behind the whole ones of the section.
  bool makes_step() const { return makes_step_; }
  // What follows the whole steps of the section.
  const std::uint8_t* next() const { return next_; }

 private:
  void put(std::size_t word, std::size_t g, __m512i x) {
    _mm512_store_si512(words_ + kKeyWord * word + 64 * g, x);
  }

  bool makes_step_;
  const std::uint8_t* next_;
  alignas(64) std::uint8_t words_[kWords * kKeyWord];
};

template <int Bits, int Rows, int Groups>
inline __attribute__((always_inline)) void score_groups(const KeyKernel& self, const std::byte* prepared,
                                                        int rows, const std::uint8_t* block,
                                                        const std::uint8_t* ahead, int first, float* scores) {
  constexpr bool kWide = trellis_is_wide(Bits);
  constexpr int kQuads = key_step_quads(Bits);
  constexpr std::size_t kStep = kKeyWord * static_cast<std::size_t>(key_step_words(Bits));
  const auto& table = *static_cast<const TrellisBytes*>(self.tables.get());
  const LookUp look_up(table, 0);
  const auto& head = *reinterpret_cast<const TrellisQueryHead*>(prepared);
  const std::byte* bytes = prepared + sizeof(TrellisQueryHead);
  const std::size_t low = table.dims.size() * Rows;
  __m512i sums[Rows][Groups], low_sums[Rows][Groups];
  for (int r = 0; r < Rows; ++r) {
    for (int g = 0; g < Groups; ++g) sums[r][g] = low_sums[r][g] = _mm512_setzero_si512();
  }
  // The windows of a step that begins at `word`; `next` is the word behind it.
  const auto step = [&](const std::uint8_t* word, const std::uint8_t* next) __attribute__((always_inline)) {
    const auto quad = [&]<int Q>() __attribute__((always_inline)) {
      if constexpr (Q < kQuads) {
        __m512i query[Rows], query_low[Rows];
        for (int r = 0; r < Rows; ++r) {
          query[r] = broadcast4(bytes + 4 * r);
          if constexpr (kWide) query_low[r] = broadcast4(bytes + low + 4 * r);
        }
        bytes += 4 * Rows;
        for (int g = 0; g < Groups; ++g) {
          const __m512i codes = look_up(key_windows<Bits, Q>(word + 64 * g, next + 64 * g));
          for (int r = 0; r < Rows; ++r) {
            sums[r][g] = _mm512_dpbusd_epi32(sums[r][g], codes, query[r]);
            if constexpr (kWide) low_sums[r][g] = _mm512_dpbusd_epi32(low_sums[r][g], codes, query_low[r]);
          }
        }
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
  };
  const EndOfStrings<Bits, Groups> ends(block, self.spec.code_bytes(), table, first);
  const std::uint8_t* const begin = block + 64 * first;
  const std::uint8_t* const end = begin + self.spec.code_bytes() * kBlockTokens / kStep * kStep;
  for (const std::uint8_t* word = begin; word != end; word += kStep) {
    if (ahead != nullptr) {
      for (std::size_t i = 0; i < kStep; i += kKeyWord) {
        for (int g = 0; g < Groups; ++g)
          prefetch(ahead + (word - block) + i + 64 * static_cast<std::size_t>(g), 64);
      }
    }
    step(word, word + kStep == end ? ends.next() : word + kStep);
  }
  if (ends.makes_step()) step(ends.next(), ends.next());
  for (int r = 0; r < rows; ++r) {
    const __m512 scale = _mm512_set1_ps(head.step[r]), bias = _mm512_set1_ps(-head.bias[r] * head.step[r]);
    for (int g = 0; g < Groups; ++g) {
      __m512 sum = _mm512_cvtepi32_ps(sums[r][g]);
      if constexpr (kWide)
        sum = _mm512_fmadd_ps(sum, _mm512_set1_ps(256), _mm512_cvtepi32_ps(low_sums[r][g]));
      _mm512_store_ps(scores + r * kBlockTokens + 16 * (first + g), _mm512_fmadd_ps(sum, scale, bias));
    }
  }
}

template <int Bits, int Rows>
void score_rows(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                const std::uint8_t* ahead, int first_group, int groups, float* scores) {
  constexpr int kGroups = (Rows == 8 ? 2 : 4) / (trellis_is_wide(Bits) ? 2 : 1);
  int g = first_group;
  for (; g + kGroups <= first_group + groups; g += kGroups)
    score_groups<Bits, Rows, kGroups>(self, prepared, rows, block, ahead, g, scores);
  for (; kGroups > 1 && g < first_group + groups; ++g)
    score_groups<Bits, Rows, 1>(self, prepared, rows, block, ahead, g, scores);
}

template <int Bits>
void score_block(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                 const std::uint8_t* ahead, int first_group, int groups, float* scores) {
  with_row_width(rows, [&]<int Rows>() {
    score_rows<Bits, Rows>(self, prepared, rows, block, ahead, first_group, groups, scores);
  });
}

// ---- values ----

constexpr std::size_t kValueLine = 64 * kBlockTokens / 4;  // bytes from a line of a token quad to its next

constexpr std::uint64_t value_places(int bits, int offset) {
  std::uint64_t places = 0;
  for (int k = 0; k < 8; ++k)
    places |= static_cast<std::uint64_t>(16 * (k % 4) + offset + k / 4 * bits) << (8 * k);
  return places;
}

// Line `line` of a token quad's string, whose lines behind the last are the first ones, one half further on.
inline __attribute__((always_inline)) __m512i value_line(const std::uint8_t* quad, int line, int lines) {
  if (line < lines) return load(quad + kValueLine * static_cast<std::size_t>(line));
  const __m512i first = load(quad);
  return _mm512_alignr_epi64(first, first, 1);
}

template <int Bits, int Pair>
inline __attribute__((always_inline)) __m512i value_windows(const std::uint8_t* quad, int line, int lines) {
  constexpr PairPlace kPlace = pair_place(Bits, Pair);
  __m512i halves = value_line(quad, line + kPlace.line, lines);
  if constexpr (kPlace.shift > 0)
    halves = _mm512_shrdi_epi16(halves, value_line(quad, line + kPlace.line + 1, lines), kPlace.shift);
  constexpr auto kPlaces = static_cast<long long>(value_places(Bits, kPlace.offset));
  return _mm512_multishift_epi64_epi8(_mm512_set1_epi64(kPlaces), halves);
}

// Pairs [First, First + Pairs) of the step at `line`.
template <int Bits, int Rows, int First, int Pairs>
inline __attribute__((always_inline)) void add_pairs(const LookUp& look_up, const BlockWeights& weights,
                                                     const std::uint8_t* block, const std::uint8_t* ahead,
                                                     int line, int lines, __m512 (&totals)[Rows][Pairs]) {
  constexpr bool kWide = trellis_is_wide(Bits);
  __m512i sums[Rows][Pairs], low_sums[Rows][Pairs];
  for (int r = 0; r < Rows; ++r) {
    for (int p = 0; p < Pairs; ++p) sums[r][p] = low_sums[r][p] = _mm512_setzero_si512();
  }
  for (std::size_t q = 0; q < kBlockTokens / 4; ++q) {
    const std::uint8_t* quad = block + 64 * q;
    if (First == 0 && ahead != nullptr) {
      for (int i = 0; i < value_step_lines(Bits); ++i)
        prefetch(ahead + 64 * q + kValueLine * static_cast<std::size_t>(line + i), 64);
    }
    __m512i weight[Rows], weight_low[Rows];
    for (std::size_t r = 0; r < Rows; ++r) {
      weight[r] = broadcast4(weights.u8 + kBlockTokens * r + 4 * q);
      if constexpr (kWide) weight_low[r] = broadcast4(weights.low + kBlockTokens * r + 4 * q);
    }
    const auto pair = [&]<int P>() __attribute__((always_inline)) {
      if constexpr (P < Pairs) {
        const __m512i values = look_up(value_windows<Bits, First + P>(quad, line, lines));
        for (int r = 0; r < Rows; ++r) {
          sums[r][P] = _mm512_dpbusd_epi32(sums[r][P], weight[r], values);
          if constexpr (kWide) low_sums[r][P] = _mm512_dpbusd_epi32(low_sums[r][P], weight_low[r], values);
        }
      }
    };
    pair.template operator()<0>();
    pair.template operator()<1>();
    pair.template operator()<2>();
    pair.template operator()<3>();
  }
  for (int r = 0; r < Rows; ++r) {
    for (int p = 0; p < Pairs; ++p) {
      totals[r][p] = _mm512_cvtepi32_ps(sums[r][p]);
      if constexpr (kWide)
        totals[r][p] = _mm512_fmadd_ps(totals[r][p], _mm512_set1_ps(256), _mm512_cvtepi32_ps(low_sums[r][p]));
    }
  }
}

template <int Bits, int Rows>
void add_rows(const ValueKernel& self, const BlockWeights& weights, int rows, const std::uint8_t* block,
              const std::uint8_t* ahead, float* sums) {
  constexpr int kStepPairs = value_step_pairs(Bits);
  constexpr int kAtOnce = (Rows == 8 ? 2 : 4) / (trellis_is_wide(Bits) ? 2 : 1);
  constexpr int kPairs = kAtOnce < kStepPairs ? kAtOnce : kStepPairs;
  const auto& table = *static_cast<const TrellisBytes*>(self.tables.get());
  const LookUp look_up(table, 0x80);
  const HalfSums halves = half_sums(weights, rows, trellis_is_wide(Bits));
  const std::size_t stride = sum_stride(self);
  const int lines = self.spec.head_dim * Bits / 128;
  for (int line = 0; line < lines; line += value_step_lines(Bits)) {
    const auto part = [&]<int First>() __attribute__((always_inline)) {
      if constexpr (First < kStepPairs) {
        __m512 totals[Rows][kPairs];
        add_pairs<Bits, Rows, First, kPairs>(look_up, weights, block, ahead, line, lines, totals);
        for (int r = 0; r < rows; ++r) {
          const __m512 step = _mm512_set1_ps(weights.step[r] * table.step);
          const __m512 half = _mm512_set1_ps(halves.rows[r]);
          for (int p = 0; p < kPairs; ++p) {
            float* to = sums + static_cast<std::size_t>(r) * stride + 16 * p;
            _mm512_storeu_ps(to,
                             _mm512_fmadd_ps(_mm512_add_ps(totals[r][p], half), step, _mm512_loadu_ps(to)));
          }
        }
        sums += 16 * kPairs;
      }
    };
    part.template operator()<0>();
    part.template operator()<kPairs>();
    part.template operator()<2 * kPairs>();
    part.template operator()<3 * kPairs>();
  }
}

template <int Bits>
void add_block(const ValueKernel& self, const BlockWeights& weights, int rows, const std::uint8_t* block,
               const std::uint8_t* ahead, float* sums) {
  with_row_width(rows, [&]<int Rows>() { add_rows<Bits, Rows>(self, weights, rows, block, ahead, sums); });
}

}  // namespace

void prepare_trellis_bytes_avx512(const KeyKernel& self, const float* queries, std::size_t stride, int rows,
                                  std::byte* prepared) noexcept {
  const auto& table = *static_cast<const TrellisBytes*>(self.tables.get());
  const std::size_t bytes = table.dims.size(), width = static_cast<std::size_t>(kernel_row_width(rows));
  const bool wide = trellis_is_wide(self.spec.bits);
  auto& head = *reinterpret_cast<TrellisQueryHead*>(prepared);
  auto* high = reinterpret_cast<std::int8_t*>(prepared + sizeof(TrellisQueryHead));
  std::int8_t* low = high + bytes * width;
  if (static_cast<std::size_t>(rows) < width) __builtin_memset(high, 0, bytes * width * (wide ? 2 : 1));
  const float top = wide ? 127.0f * 256.0f : 127.0f;
  alignas(64) std::int8_t upper[kMostTrellisDims + 64] = {}, lower[kMostTrellisDims + 64] = {};
  std::int8_t ordered[kMostTrellisDims + 64];
  for (int r = 0; r < rows; ++r) {
    const float* query = queries + static_cast<std::size_t>(r) * stride;
    const float largest = largest_of_row(query, self.spec.head_dim);
    const bool any = largest > 1e-30f;
    const std::int32_t sum = round_row(
        query, self.spec.head_dim, any ? top / largest : 0.0f,
        [&](int c, __m512i whole) __attribute__((always_inline)) {
          if (!wide) return store_bytes(whole, upper + c);
          const __m512i above = _mm512_srai_epi32(_mm512_add_epi32(whole, _mm512_set1_epi32(128)), 8);
          store_bytes(above, upper + c);
          store_bytes(_mm512_sub_epi32(whole, _mm512_slli_epi32(above, 8)), lower + c);
        });
    order_bytes(upper, table.dims, ordered);
    spread_quads(ordered, bytes / 4, width, high + 4 * r);
    if (wide) {
      order_bytes(lower, table.dims, ordered);
      spread_quads(ordered, bytes / 4, width, low + 4 * r);
    }
    head.step[r] = any ? largest / top * table.step : 0.0f;
    head.bias[r] = 127.5f * static_cast<float>(sum);
  }
}

KeyKernel::Scores trellis_scores_avx512(const CodeSpec& spec) noexcept {
  constexpr KeyKernel::Scores by_bits[] = {score_block<1>, score_block<2>, score_block<3>, score_block<4>};
  return by_bits[spec.bits - 1];
}

ValueKernel::Add trellis_add_avx512(const CodeSpec& spec) noexcept {
  constexpr ValueKernel::Add by_bits[] = {add_block<1>, add_block<2>, add_block<3>, add_block<4>};
  if (spec.is_part() || !has_whole_words(spec.head_dim, spec.bits, Role::values))
    return trellis_add_quads_avx512(spec.bits);
  return by_bits[spec.bits - 1];
}

}  // namespace veloxquant
#else
namespace veloxquant {
void prepare_trellis_bytes_avx512(const KeyKernel&, const float*, std::size_t, int, std::byte*) noexcept {}
KeyKernel::Scores trellis_scores_avx512(const CodeSpec&) noexcept { return nullptr; }
ValueKernel::Add trellis_add_avx512(const CodeSpec&) noexcept { return nullptr; }
}  // namespace veloxquant
#endif
