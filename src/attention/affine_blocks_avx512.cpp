// Affine and integer codes on AVX-512 with VNNI: plane order, the scales of all tokens side by side for each
// group.
#include "attention/affine_blocks.hpp"

#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
#include <immintrin.h>

#include <utility>

#include "attention/block_rows.hpp"
#include "attention/kernel_inline.hpp"
#include "attention/planes_avx512.hpp"

namespace veloxquant {
namespace {

// The codes as the kernels multiply them: two's complement bytes become unsigned by turning their top bit.
VELOXQUANT_INLINE __m512i unsigned_codes(__m512i codes, __m512i flip) {
  return _mm512_xor_si512(codes, flip);
}

VELOXQUANT_INLINE __m512 load_halves(const std::uint8_t* halves) {
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(halves)));
}

// Scales and biases of 16 tokens of a group.
struct GroupScales {
  __m512 scale, bias;
};

VELOXQUANT_INLINE GroupScales load_scales(const CodeSpec& spec, const std::uint8_t* scales, int group,
                                          int first_token) {
  constexpr std::size_t kStep = 2 * kBlockTokens;
  const std::uint8_t* at =
      scales + kStep * static_cast<std::size_t>(group) + 2 * static_cast<std::size_t>(first_token);
  const __m512 scale = load_halves(at);
  if (spec.kind == CodeKind::affine)
    return {scale, load_halves(at + kStep * static_cast<std::size_t>(spec.head_dim / spec.group))};
  return {scale, _mm512_mul_ps(scale, _mm512_set1_ps(static_cast<float>(-integer_zero(spec))))};
}

__m512i flip_of(const CodeSpec& spec) {
  return _mm512_set1_epi8(static_cast<char>(spec.kind == CodeKind::integer && spec.bits == 8 ? 0x80 : 0));
}

// 256 * high + low.
VELOXQUANT_INLINE __m512 joined(__m512i high, __m512i low) {
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps(high), _mm512_set1_ps(256), _mm512_cvtepi32_ps(low));
}

// ---- keys: token groups [First, First + Groups) ----

template <int Bits, int Rows, int Groups, int First>
void score_groups(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                  const std::uint8_t* ahead, float* scores) {
  constexpr std::size_t kUnit = 64 * Bits;  // bytes of 8 dimensions
  const CodeSpec& spec = self.spec;
  const auto& head = *reinterpret_cast<const AffineQueryHead*>(prepared);
  const auto dims = static_cast<std::size_t>(spec.head_dim);
  const std::byte* high = prepared + sizeof(AffineQueryHead);
  const std::byte* low = high + dims * Rows;
  const std::uint8_t* const scales = block + kBlockTokens * spec.code_bytes();
  const __m512i flip = flip_of(spec);
  for (int group = 0; group < spec.head_dim / spec.group; ++group) {
    __m512i high_sums[Rows][Groups], low_sums[Rows][Groups];
    for (int r = 0; r < Rows; ++r) {
      for (int g = 0; g < Groups; ++g) high_sums[r][g] = low_sums[r][g] = _mm512_setzero_si512();
    }
    for (int dim = 0; dim < spec.group; dim += 8, block += kUnit) {
      if (First == 0 && ahead != nullptr) {
        prefetch(ahead, kUnit);
        ahead += kUnit;
      }
      const auto quad = [&]<int Q>() __attribute__((always_inline)) {
        const auto tokens = [&]<int G>() __attribute__((always_inline)) {
          if constexpr (G < Groups) {
            const __m512i codes = unsigned_codes(whole_codes<Bits, 4 * Q + First + G, 8>(block), flip);
            for (int r = 0; r < Rows; ++r) {
              high_sums[r][G] = _mm512_dpbusd_epi32(high_sums[r][G], codes, broadcast4(high + 4 * r));
              low_sums[r][G] = _mm512_dpbusd_epi32(low_sums[r][G], codes, broadcast4(low + 4 * r));
            }
          }
        };
        tokens.template operator()<0>();
        tokens.template operator()<1>();
        high += 4 * Rows;
        low += 4 * Rows;
      };
      quad.template operator()<0>();
      quad.template operator()<1>();
    }
    for (int g = 0; g < Groups; ++g) {
      const GroupScales of = load_scales(spec, scales, group, 16 * (First + g));
      for (int r = 0; r < rows; ++r) {
        float* to = scores + r * kBlockTokens + 16 * (First + g);
        const __m512 product =
            _mm512_mul_ps(joined(high_sums[r][g], low_sums[r][g]), _mm512_set1_ps(head.step[r]));
        const __m512 before = group == 0 ? _mm512_setzero_ps() : _mm512_load_ps(to);
        const __m512 biased = _mm512_fmadd_ps(of.bias, _mm512_set1_ps(head.group_sum[group][r]), before);
        _mm512_store_ps(to, _mm512_fmadd_ps(of.scale, product, biased));
      }
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
    kByGroup[g](self, prepared, rows, block, ahead, scores);
}

template <int Bits>
void score_block(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                 const std::uint8_t* ahead, int first_group, int groups, float* scores) {
  with_row_width(rows, [&]<int Rows>() {
    score_rows<Bits, Rows>(self, prepared, rows, block, ahead, first_group, groups, scores);
  });
}

// ---- values ----

// Weights times scales of one group as bytes, weight * scale = step * (256 * high + low), and the biases'
// sum.
struct alignas(64) GroupWeights {
  std::int8_t high[kKernelRows][kBlockTokens], low[kKernelRows][kBlockTokens];
  float step[kKernelRows], bias[kKernelRows];
};

void weigh_group(const CodeSpec& spec, const float* weights, int rows, const std::uint8_t* scales, int group,
                 GroupWeights& to) {
  GroupScales of[4];
  for (int i = 0; i < 4; ++i) of[i] = load_scales(spec, scales, group, 16 * i);
  for (int r = 0; r < rows; ++r) {
    __m512 scaled[4], largest = _mm512_setzero_ps(), bias = _mm512_setzero_ps();
    for (int i = 0; i < 4; ++i) {
      const __m512 weight = _mm512_load_ps(weights + r * kBlockTokens + 16 * i);
      scaled[i] = _mm512_mul_ps(weight, of[i].scale);
      bias = _mm512_fmadd_ps(weight, of[i].bias, bias);
      largest = _mm512_max_ps(largest, _mm512_abs_ps(scaled[i]));
    }
    const float top = _mm512_reduce_max_ps(largest);
    constexpr float kLimit = 127.0f * 256.0f;
    to.step[r] = top / kLimit;
    to.bias[r] = _mm512_reduce_add_ps(bias);
    const __m512 inverse = _mm512_set1_ps(top > 1e-30f ? kLimit / top : 0.0f);
    for (int i = 0; i < 4; ++i) {
      const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(scaled[i], inverse));
      const __m512i high = _mm512_srai_epi32(_mm512_add_epi32(whole, _mm512_set1_epi32(128)), 8);
      _mm_store_si128(reinterpret_cast<__m128i*>(to.high[r] + 16 * i), _mm512_cvtepi32_epi8(high));
      // The low byte of whole - 256 * high is that of whole.
      _mm_store_si128(reinterpret_cast<__m128i*>(to.low[r] + 16 * i), _mm512_cvtepi32_epi8(whole));
    }
  }
}

// Units of 16 dimensions [0, Units): all token quads.
template <int Bits, int Rows, int Units>
VELOXQUANT_INLINE void add_units(const GroupWeights& weights, int rows, const std::uint8_t* block,
                                 const std::uint8_t* ahead, __m512i flip, std::size_t stride, float* sums) {
  constexpr std::size_t kUnit = 128 * Bits;
  __m512i high[Rows][Units], low[Rows][Units];
  for (int r = 0; r < Rows; ++r) {
    for (int u = 0; u < Units; ++u) high[r][u] = low[r][u] = _mm512_setzero_si512();
  }
  if (ahead != nullptr) prefetch(ahead, kUnit * Units);
  const auto quad = [&]<int Q>() __attribute__((always_inline)) {
    for (std::size_t u = 0; u < Units; ++u) {
      const __m512i codes = unsigned_codes(whole_codes<Bits, Q, 16>(block + kUnit * u), flip);
      for (int r = 0; r < Rows; ++r) {
        high[r][u] = _mm512_dpbusd_epi32(high[r][u], codes, broadcast4(weights.high[r] + 4 * Q));
        low[r][u] = _mm512_dpbusd_epi32(low[r][u], codes, broadcast4(weights.low[r] + 4 * Q));
      }
    }
  };
  [&]<int... Q>(std::integer_sequence<int, Q...>) __attribute__((always_inline)) {
    (quad.template operator()<Q>(), ...);
  }(std::make_integer_sequence<int, 16>());
  for (int r = 0; r < rows; ++r) {
    const __m512 step = _mm512_set1_ps(weights.step[r]), bias = _mm512_set1_ps(weights.bias[r]);
    for (int u = 0; u < Units; ++u) {
      float* to = sums + static_cast<std::size_t>(r) * stride + 16 * u;
      const __m512 before = _mm512_add_ps(_mm512_load_ps(to), bias);
      _mm512_store_ps(to, _mm512_fmadd_ps(joined(high[r][u], low[r][u]), step, before));
    }
  }
}

template <int Bits, int Rows>
void add_rows(const ValueKernel& self, const BlockWeights& weights, int rows, const std::uint8_t* block,
              const std::uint8_t* ahead, float* sums) {
  constexpr int kUnits = Rows == 8 ? 1 : 2;
  constexpr std::size_t kUnit = 128 * Bits;
  const CodeSpec& spec = self.spec;
  const std::size_t stride = sum_stride(self);
  const std::uint8_t* const scales = block + kBlockTokens * spec.code_bytes();
  const __m512i flip = flip_of(spec);
  GroupWeights group_weights{};
  for (int group = 0; group < spec.head_dim / spec.group; ++group) {
    weigh_group(spec, weights.f32, rows, scales, group, group_weights);
    const auto step = [&]<int Units>() __attribute__((always_inline)) {
      add_units<Bits, Rows, Units>(group_weights, rows, block, ahead, flip, stride, sums);
      block += kUnit * Units;
      if (ahead != nullptr) ahead += kUnit * Units;
      sums += 16 * Units;
    };
    int left = spec.group / 16;
    for (; left >= kUnits; left -= kUnits) step.template operator()<kUnits>();
    if (kUnits > 1 && left > 0) step.template operator()<1>();
  }
}

template <int Bits>
void add_block(const ValueKernel& self, const BlockWeights& weights, int rows, const std::uint8_t* block,
               const std::uint8_t* ahead, float* sums) {
  with_row_width(rows, [&]<int Rows>() { add_rows<Bits, Rows>(self, weights, rows, block, ahead, sums); });
}

}  // namespace

KeyKernel::Scores affine_scores_avx512(int bits) noexcept {
  constexpr KeyKernel::Scores by_bits[] = {nullptr,        score_block<2>, score_block<3>, score_block<4>,
                                           score_block<5>, score_block<6>, nullptr,        score_block<8>};
  return by_bits[bits - 1];
}

ValueKernel::Add affine_add_avx512(int bits) noexcept {
  constexpr ValueKernel::Add by_bits[] = {nullptr,      add_block<2>, add_block<3>, add_block<4>,
                                          add_block<5>, add_block<6>, nullptr,      add_block<8>};
  return by_bits[bits - 1];
}

}  // namespace veloxquant
#else
namespace veloxquant {
KeyKernel::Scores affine_scores_avx512(int) noexcept { return nullptr; }
ValueKernel::Add affine_add_avx512(int) noexcept { return nullptr; }
}  // namespace veloxquant
#endif
