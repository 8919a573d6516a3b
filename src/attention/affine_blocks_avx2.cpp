// Affine and integer codes on AVX2: products of words (words_avx2.hpp), which cost less there than bytes
// twice.
#include "attention/affine_blocks.hpp"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "attention/kernel_inline.hpp"
#include "attention/words_avx2.hpp"

namespace veloxquant {
namespace {

// Codes as they are; two's complement bytes become unsigned by turning their top bit.
template <int Bits>
class Codes {
 public:
  explicit Codes(const CodeSpec& spec) : flip_(Avx2::fill(spec.kind == CodeKind::integer ? 0x80 : 0)) {}
  VELOXQUANT_INLINE WordPair operator()(__m256i codes) const {
    return words_of(Bits == 8 ? _mm256_xor_si256(codes, flip_) : codes);
  }

 private:
  __m256i flip_;
};

VELOXQUANT_INLINE __m256 load_halves(const std::uint8_t* halves) {
  return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(halves)));
}

// Scales and biases of 8 tokens of a group.
struct GroupScales {
  __m256 scale, bias;
};

VELOXQUANT_INLINE GroupScales load_scales(const CodeSpec& spec, const std::uint8_t* scales, int group,
                                          int first_token) {
  constexpr std::size_t kStep = 2 * kBlockTokens;
  const std::uint8_t* at =
      scales + kStep * static_cast<std::size_t>(group) + 2 * static_cast<std::size_t>(first_token);
  const __m256 scale = load_halves(at);
  if (spec.kind == CodeKind::affine)
    return {scale, load_halves(at + kStep * static_cast<std::size_t>(spec.head_dim / spec.group))};
  return {scale, _mm256_mul_ps(scale, _mm256_set1_ps(static_cast<float>(-integer_zero(spec))))};
}

// ---- keys: the halves [first, first + Halves) of token group Group ----

template <int Bits, int Rows, int Halves, int Group>
VELOXQUANT_INLINE void score_halves(const KeyKernel& self, const std::byte* prepared, int rows,
                                    const std::uint8_t* block, int first, float* scores) {
  const CodeSpec& spec = self.spec;
  const Codes<Bits> codes(spec);
  const auto& head = *reinterpret_cast<const AffineQueryHead*>(prepared);
  const std::byte* words = prepared + sizeof(AffineQueryHead);
  const std::uint8_t* const scales = block + kBlockTokens * spec.code_bytes();
  for (int group = 0; group < spec.head_dim / spec.group; ++group) {
    __m256i sums[Rows][Halves];
    clear(sums);
    add_key_words<Bits, Rows, Halves, Group>(codes, words, spec.group, block, first, sums);
    block += 8 * Bits * spec.group;
    words += 2 * Rows * spec.group;
    for (int h = 0; h < Halves; ++h) {
      const int token = 16 * Group + 8 * (first + h);
      const GroupScales of = load_scales(spec, scales, group, token);
      for (int r = 0; r < Rows && r < rows; ++r) {
        float* to = scores + r * kBlockTokens + token;
        const __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[r][h]), _mm256_set1_ps(head.step[r]));
        const __m256 before = group == 0 ? _mm256_setzero_ps() : _mm256_load_ps(to);
        const __m256 biased = _mm256_fmadd_ps(of.bias, _mm256_set1_ps(head.group_sum[group][r]), before);
        _mm256_store_ps(to, _mm256_fmadd_ps(of.scale, product, biased));
      }
    }
  }
}

template <int Bits, int Rows, int Group>
void score_group(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                 float* scores) {
  constexpr int kHalves = word_halves(Rows);
  for (int first = 0; first < 2; first += kHalves)
    score_halves<Bits, Rows, kHalves, Group>(self, prepared, rows, block, first, scores);
}

template <int Bits>
void score_block(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                 const std::uint8_t* ahead, int first_group, int groups, float* scores) {
  score_groups(self, rows, ahead, first_group, groups, [&]<int Rows, int Group>() {
    score_group<Bits, Rows, Group>(self, prepared, rows, block, scores);
  });
}

// ---- values ----

// Weights times scales of one group as words, weight * scale = step * word, and the biases' sum.
struct GroupWeights {
  WeightWords words;
  float step[kKernelRows], bias[kKernelRows];
};

VELOXQUANT_INLINE float lanes_sum(__m256 x) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

VELOXQUANT_INLINE float lanes_max(__m256 x) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

void weigh_group(const CodeSpec& spec, const float* weights, int rows, const std::uint8_t* scales, int group,
                 GroupWeights& to) {
  constexpr int kVectors = kBlockTokens / 8;
  GroupScales of[kVectors];
  for (int i = 0; i < kVectors; ++i) of[i] = load_scales(spec, scales, group, 8 * i);
  for (int r = 0; r < rows; ++r) {
    __m256 scaled[kVectors], largest = _mm256_setzero_ps(), bias = _mm256_setzero_ps();
    for (int i = 0; i < kVectors; ++i) {
      const __m256 weight = _mm256_load_ps(weights + r * kBlockTokens + 8 * i);
      scaled[i] = _mm256_mul_ps(weight, of[i].scale);
      bias = _mm256_fmadd_ps(weight, of[i].bias, bias);
      largest = _mm256_max_ps(largest, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), scaled[i]));
    }
    const float top = lanes_max(largest);
    to.step[r] = top / kAffineTop;
    to.bias[r] = lanes_sum(bias);
    const __m256 inverse = _mm256_set1_ps(top > 1e-30f ? kAffineTop / top : 0.0f);
    for (int i = 0; i < kVectors; i += 2) {
      const auto whole = [&](int k) __attribute__((always_inline)) {
        return _mm256_cvtps_epi32(_mm256_mul_ps(scaled[k], inverse));
      };
      // Quads 0 2 | 1 3, whose words then stand even ones first.
      const __m256i quads = _mm256_packs_epi32(whole(i), whole(i + 1));
      constexpr int kEvenFirst = _MM_SHUFFLE(3, 1, 2, 0);
      const __m256i words = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(quads, kEvenFirst), kEvenFirst);
      _mm256_store_si256(reinterpret_cast<__m256i*>(to.words.words[r] + 8 * i),
                         _mm256_permute4x64_epi64(words, kEvenFirst));
    }
  }
}

// The halves [first, first + Halves) of a unit of 16 dimensions.
template <int Bits, int Rows, int Halves>
VELOXQUANT_INLINE void add_halves(const Codes<Bits>& codes, const GroupWeights& weights, int rows,
                                  const std::uint8_t* unit, int first, std::size_t stride, float* sums) {
  __m256i part[Rows][Halves];
  clear(part);
  add_value_words<Bits, Rows, Halves>(codes, weights.words, unit, first, part);
  for (int r = 0; r < Rows && r < rows; ++r) {
    const __m256 step = _mm256_set1_ps(weights.step[r]), bias = _mm256_set1_ps(weights.bias[r]);
    for (int h = 0; h < Halves; ++h) {
      float* to = sums + static_cast<std::size_t>(r) * stride + 8 * (first + h);
      const __m256 before = _mm256_add_ps(_mm256_load_ps(to), bias);
      _mm256_store_ps(to, _mm256_fmadd_ps(_mm256_cvtepi32_ps(part[r][h]), step, before));
    }
  }
}

template <int Bits>
void add_block(const ValueKernel& self, const BlockWeights& weights, int rows, const std::uint8_t* block,
               const std::uint8_t* ahead, float* sums) {
  constexpr std::size_t kUnit = 128 * Bits;
  const CodeSpec& spec = self.spec;
  const Codes<Bits> codes(spec);
  const std::size_t stride = sum_stride(self);
  const std::uint8_t* const scales = block + kBlockTokens * spec.code_bytes();
  with_row_width(rows, [&]<int Rows>() {
    GroupWeights group_weights{};
    for (int dim = 0; dim < spec.head_dim; dim += 16, block += kUnit, sums += 16) {
      if (dim % spec.group == 0)
        weigh_group(spec, weights.f32, rows, scales, dim / spec.group, group_weights);
      if (ahead != nullptr) {
        Avx2::prefetch(ahead, kUnit);
        ahead += kUnit;
      }
      constexpr int kHalves = word_halves(Rows);
      for (int first = 0; first < 2; first += kHalves)
        add_halves<Bits, Rows, kHalves>(codes, group_weights, rows, block, first, stride, sums);
    }
  });
}

}  // namespace

KeyKernel::Scores affine_scores_avx2(int bits) noexcept {
  constexpr KeyKernel::Scores by_bits[] = {nullptr,        score_block<2>, score_block<3>, score_block<4>,
                                           score_block<5>, score_block<6>, nullptr,        score_block<8>};
  return by_bits[bits - 1];
}

ValueKernel::Add affine_add_avx2(int bits) noexcept {
  constexpr ValueKernel::Add by_bits[] = {nullptr,      add_block<2>, add_block<3>, add_block<4>,
                                          add_block<5>, add_block<6>, nullptr,      add_block<8>};
  return by_bits[bits - 1];
}

}  // namespace veloxquant
#else
namespace veloxquant {
KeyKernel::Scores affine_scores_avx2(int) noexcept { return nullptr; }
ValueKernel::Add affine_add_avx2(int) noexcept { return nullptr; }
}  // namespace veloxquant
#endif
