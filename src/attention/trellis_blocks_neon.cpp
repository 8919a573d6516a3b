// Trellis codes on NEON with dot products (pack/word_order.hpp draws the blocks).
//
// Windows are cut out of shifted words as in the kernels of AVX2 (trellis_windows.hpp), 16 at a time: of 4
// tokens of keys, or of 4 dimensions of 4 tokens of values. The 128 entries of an odd table are two look-ups
// in four registers. Queries and weights are bytes, at 4 bits high and low ones (trellis_is_wide()), and sdot
// and udot multiply bytes of one kind: byte u of the table, which stands for u - 127.5, is taken as u - 128
// where queries are signed.
#include "attention/trellis_blocks.hpp"

#if defined(__ARM_FEATURE_DOTPROD)
#include "attention/kernel_inline.hpp"
#include "attention/lanes_neon.hpp"
#include "attention/trellis_windows.hpp"

namespace veloxquant {
namespace {

// Windows to bytes of the table.
class LookUp {
 public:
  // `flip` 128: of the table's bytes less 128.
  LookUp(const TrellisBytes& table, int flip) {
    for (int i = 0; i < 4; ++i) {
      low_.val[i] = veorq_u8(vld1q_u8(table.bytes + 16 * i), NeonDot::fill(flip));
      high_.val[i] = veorq_u8(vld1q_u8(table.bytes + 64 + 16 * i), NeonDot::fill(flip));
    }
  }
  VELOXQUANT_INLINE uint8x16_t operator()(uint8x16_t windows) const {
    const uint8x16_t negative = vcltzq_s8(vreinterpretq_s8_u8(windows));
    const uint8x16_t at = veorq_u8(windows, negative);
    const uint8x16_t found = vqtbx4q_u8(vqtbl4q_u8(low_, at), high_, vsubq_u8(at, vdupq_n_u8(64)));
    return veorq_u8(found, negative);
  }

 private:
  uint8x16x4_t low_, high_;
};

// Sums of products with bytes, or with high and low bytes.
template <int Bits>
struct Sums {
  static constexpr bool kWide = trellis_is_wide(Bits);
  int32x4_t high = vdupq_n_s32(0), low = vdupq_n_s32(0);
  VELOXQUANT_INLINE float32x4_t joined() const {
    if constexpr (!kWide) return vcvtq_f32_s32(high);
    return vfmaq_n_f32(vcvtq_f32_s32(low), vcvtq_f32_s32(high), 256.0f);
  }
};

// ---- keys: four tokens ----

template <int Bits, int Rows>
void score_tokens(const KeyKernel& self, const LookUp& look_up, const std::byte* prepared, int rows,
                  const std::uint8_t* words, float* scores) {
  constexpr std::size_t kStep = kKeyWord * static_cast<std::size_t>(key_step_words(Bits));
  const auto& table = *static_cast<const TrellisBytes*>(self.tables.get());
  const auto& head = *reinterpret_cast<const TrellisQueryHead*>(prepared);
  const std::byte* high = prepared + sizeof(TrellisQueryHead);
  const std::byte* low = high + table.dims.size() * Rows;
  Sums<Bits> sums[Rows];
  const std::uint8_t* const end = words + kBlockTokens * self.spec.code_bytes();
  const std::uint8_t* const behind = words + table.behind;
  for (const std::uint8_t* word = words; word != end; word += kStep) {
    const std::uint8_t* const next = word + kStep == end ? behind : word + kStep;
    for_each<key_step_quads(Bits)>([&]<int Q>() __attribute__((always_inline)) {
      const uint8x16_t codes = look_up(key_windows<NeonDot, Bits, Q>(word, next));
      for (int r = 0; r < Rows; ++r, high += 4, low += 4) {
        sums[r].high = NeonDot::add_key_products(sums[r].high, codes, NeonDot::broadcast4(high));
        if constexpr (Sums<Bits>::kWide)
          sums[r].low = NeonDot::add_key_products(sums[r].low, codes, NeonDot::broadcast4(low));
      }
    });
  }
  for (int r = 0; r < Rows && r < rows; ++r) {
    // The bias is 127.5 times the sum of the query; bytes less 128 miss half of that sum.
    const float32x4_t missing = vdupq_n_f32(head.bias[r] / 255.0f);
    vst1q_f32(scores + r * kBlockTokens, vmulq_n_f32(vaddq_f32(sums[r].joined(), missing), head.step[r]));
  }
}

template <int Bits>
void score_block(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                 const std::uint8_t* ahead, int first_group, int groups, float* scores) {
  const LookUp look_up(*static_cast<const TrellisBytes*>(self.tables.get()), 128);
  with_row_width(rows, [&]<int Rows>() {
    for (int t = 16 * first_group; t < 16 * (first_group + groups); t += 4) {
      if (ahead != nullptr && t % 16 == 0) {
        for (std::size_t at = 0; at < kBlockTokens * self.spec.code_bytes(); at += kKeyWord)
          NeonDot::prefetch(ahead + at + 4 * t, 64);
      }
      score_tokens<Bits, Rows>(self, look_up, prepared, rows, block + 4 * t, scores + t);
    }
  });
}

// ---- values ----

// Four sums of each row: a part of a pair of dimensions of the step at `line`. `bias`: 127.5 times the sum of
// the weights.
template <int Bits, int Rows, int Pair, int Part>
VELOXQUANT_INLINE void add_part(const LookUp& look_up, const BlockWeights& weights, const float* bias,
                                float table_step, int rows, const std::uint8_t* block, int line, int lines,
                                std::size_t stride, float* sums) {
  Sums<Bits> part[Rows];
  for (int q = 0; q < kBlockTokens / 4; ++q) {
    const uint8x16_t codes = look_up(value_windows<NeonDot, Bits, Pair, Part>(block + 64 * q, line, lines));
    for (int r = 0; r < Rows; ++r) {
      const int at = r * kBlockTokens + 4 * q;
      part[r].high = NeonDot::add_value_products(part[r].high, codes, NeonDot::broadcast4(weights.u8 + at));
      if constexpr (Sums<Bits>::kWide)
        part[r].low = NeonDot::add_value_products(part[r].low, codes, NeonDot::broadcast4(weights.low + at));
    }
  }
  for (int r = 0; r < Rows && r < rows; ++r) {
    float* to = sums + static_cast<std::size_t>(r) * stride;
    const float32x4_t sum = vsubq_f32(part[r].joined(), vdupq_n_f32(bias[r]));
    // The first dimensions of two places, then the second ones -> place by place.
    const float32x4_t ordered =
        vcombine_f32(vget_low_f32(vuzp1q_f32(sum, sum)), vget_low_f32(vuzp2q_f32(sum, sum)));
    vst1q_f32(to, vfmaq_n_f32(vld1q_f32(to), ordered, weights.step[r] * table_step));
  }
}

template <int Bits>
void add_block(const ValueKernel& self, const BlockWeights& weights, int rows, const std::uint8_t* block,
               const std::uint8_t* ahead, float* sums) {
  constexpr int kPairs = value_step_pairs(Bits), kParts = 4;
  const auto& table = *static_cast<const TrellisBytes*>(self.tables.get());
  const LookUp look_up(table, 0);
  const std::size_t stride = sum_stride(self);
  const int lines = self.spec.head_dim * Bits / 128;
  float bias[kKernelRows];
  for (int r = 0; r < kKernelRows; ++r) {
    std::int32_t sum = 0;
    for (int t = r * kBlockTokens; t < (r + 1) * kBlockTokens; ++t)
      sum += trellis_is_wide(Bits) ? 256 * weights.u8[t] + weights.low[t] : weights.u8[t];
    bias[r] = 127.5f * static_cast<float>(sum);
  }
  with_row_width(rows, [&]<int Rows>() {
    for (int line = 0; line < lines; line += value_step_lines(Bits), sums += 16 * kPairs) {
      if (ahead != nullptr) {
        const std::uint8_t* from = ahead + kValueLine * static_cast<std::size_t>(line);
        NeonDot::prefetch(from, kValueLine * value_step_lines(Bits));
      }
      for_each<kPairs * kParts>([&]<int I>() __attribute__((always_inline)) {
        add_part<Bits, Rows, I / kParts, I % kParts>(look_up, weights, bias, table.step, rows, block, line,
                                                     lines, stride, sums + 4 * I);
      });
    }
  });
}

}  // namespace

KeyKernel::Scores trellis_scores_neon(const CodeSpec& spec) noexcept {
  constexpr KeyKernel::Scores by_bits[] = {score_block<1>, score_block<2>, score_block<3>, score_block<4>};
  const bool goes_on = !spec.is_part() || spec.behind.bytes >= 4;
  return has_whole_words(spec.head_dim, spec.bits, Role::keys) && goes_on ? by_bits[spec.bits - 1] : nullptr;
}

ValueKernel::Add trellis_add_neon(const CodeSpec& spec) noexcept {
  constexpr ValueKernel::Add by_bits[] = {add_block<1>, add_block<2>, add_block<3>, add_block<4>};
  const bool lines = has_whole_words(spec.head_dim, spec.bits, Role::values) && !spec.is_part();
  return lines ? by_bits[spec.bits - 1] : nullptr;
}

}  // namespace veloxquant
#else
namespace veloxquant {
KeyKernel::Scores trellis_scores_neon(const CodeSpec&) noexcept { return nullptr; }
ValueKernel::Add trellis_add_neon(const CodeSpec&) noexcept { return nullptr; }
}  // namespace veloxquant
#endif
