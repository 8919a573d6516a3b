// One online-softmax step on a block of 64 tokens: lanes are tokens.
#if defined(VELOXQUANT_ATTENTION_BLOCK_SOFTMAX_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef VELOXQUANT_ATTENTION_BLOCK_SOFTMAX_INL
#undef VELOXQUANT_ATTENTION_BLOCK_SOFTMAX_INL
#else
#define VELOXQUANT_ATTENTION_BLOCK_SOFTMAX_INL
#endif

#include "attention/block_softmax.hpp"
#include "attention/vector_math-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {

inline constexpr int kBlockVectors = kBlockTokens / kLanes;

// The scales of a block's vectors as floats.
HWY_INLINE void load_block_scales(VectorScale form, const std::uint8_t* scales, float* factors) {
  const Floats d;
  if (form == VectorScale::gain) {
    for (int t = 0; t < kBlockTokens; ++t) factors[t] = block_gain(scales[t]);
    return;
  }
  for (int t = 0; t < kBlockTokens; t += kLanes) {
    hn::Store(form == VectorScale::f16 ? load_f16(d, scales + 2 * t) : hn::Set(d, 1.0f), d, factors + t);
  }
}

// Scores of tokens outside [begin, end) of the block <- -infinity.
HWY_INLINE void hide_tokens(float* scores, std::int64_t begin, std::int64_t end) {
  for (std::int64_t t = 0; t < kBlockTokens; ++t) {
    if (t < begin || t >= end) scores[t] = -std::numeric_limits<float>::infinity();
  }
}

// exp2(x) for x up to a little above 0, to 3e-7 of the result; 0 where it would leave the normal numbers and
// for -infinity.
HWY_INLINE FloatVector exp2_of(FloatVector x) {
  const Floats d;
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  // 2^x = 2^floor(x) 2^r with r in [0, 1), one instruction each.
  const auto bounded = hn::Max(x, hn::Set(d, -126.0f));
  const FloatVector r{_mm512_reduce_ps(bounded.raw, 1)};
  auto y = hn::Set(d, 1.89375400e-3f);
  y = hn::MulAdd(y, r, hn::Set(d, 8.94959085e-3f));
  y = hn::MulAdd(y, r, hn::Set(d, 5.58603369e-2f));
  y = hn::MulAdd(y, r, hn::Set(d, 2.40141824e-1f));
  y = hn::MulAdd(y, r, hn::Set(d, 6.93154514e-1f));
  y = hn::MulAdd(y, r, hn::Set(d, 9.99999881e-1f));
  return FloatVector{_mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x.raw, _mm512_set1_ps(-126.0f), _CMP_GE_OQ),
                                            y.raw, bounded.raw)};
#else
  const hn::RebindToSigned<Floats> di;
  const auto too_low = hn::Lt(x, hn::Set(d, -126.0f));
  const auto bounded = hn::IfThenZeroElse(too_low, x);
  const auto rounded = hn::Round(bounded);
  const auto r = hn::Sub(bounded, rounded);
  auto y = hn::Set(d, 1.33908633e-3f);
  y = hn::MulAdd(y, r, hn::Set(d, 9.67603177e-3f));
  y = hn::MulAdd(y, r, hn::Set(d, 5.55035695e-2f));
  y = hn::MulAdd(y, r, hn::Set(d, 2.40221068e-1f));
  y = hn::MulAdd(y, r, hn::Set(d, 6.93147182e-1f));
  y = hn::MulAdd(y, r, hn::Set(d, 1.00000012f));
  const auto power = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, rounded), hn::Set(di, 127))));
  return hn::IfThenZeroElse(too_low, hn::Mul(y, power));
#endif
}

// The largest lane of each of R vectors (1 or 4).
template <int R>
HWY_INLINE void max_of_rows(const FloatVector* v, float* of_row) {
  const Floats d;
  if constexpr (R == 1) {
    of_row[0] = hn::GetLane(hn::MaxOfLanes(d, v[0]));
  } else {
    static_assert(R == 4);
    // Rows side by side in every 128-bit block, then the blocks.
    const hn::RepartitionToWide<Floats> dw;
    const auto ab = hn::Max(hn::InterleaveLower(d, v[0], v[1]), hn::InterleaveUpper(d, v[0], v[1]));
    const auto cd = hn::Max(hn::InterleaveLower(d, v[2], v[3]), hn::InterleaveUpper(d, v[2], v[3]));
    const auto abw = hn::BitCast(dw, ab), cdw = hn::BitCast(dw, cd);
    alignas(64) float lanes[kLanes];
    hn::Store(hn::Max(hn::BitCast(d, hn::InterleaveLower(dw, abw, cdw)),
                      hn::BitCast(d, hn::InterleaveUpper(dw, abw, cdw))),
              d, lanes);
    const hn::FixedTag<float, 4> four;
    auto max = hn::Load(four, lanes);
    for (int i = 4; i < kLanes; i += 4) max = hn::Max(max, hn::Load(four, lanes + i));
    hn::Store(max, four, of_row);
  }
}

HWY_INLINE void shrink_row(BlockSoftmax& softmax, int r, float max) {
  const Floats d;
  const auto factor = exp_not_above_zero(hn::Set(d, softmax.max[r] - max));
  softmax.max[r] = max;
  float* total = softmax.total + r * kTotalLanes;
  for (int i = 0; i < kTotalLanes; i += kLanes)
    hn::Store(hn::Mul(hn::Load(d, total + i), factor), d, total + i);
  float* sums = softmax.sums + static_cast<std::size_t>(r) * softmax.stride;
  for (std::size_t c = 0; c < softmax.stride; c += kLanes)
    hn::Store(hn::Mul(hn::Load(d, sums + c), factor), d, sums + c);
}

// Bytes <- weights / step, rounded; the step is chosen so that the largest weight becomes the largest number.
HWY_INLINE void round_weights(BlockSoftmax& softmax, const BlockScores& block, int r, float largest) {
  const Floats d;
  const hn::RebindToSigned<Floats> di;
  const hn::Rebind<std::uint8_t, Floats> db;
  const bool wide = softmax.form == WeightForm::u16;
  const float limit = wide ? 65535.0f : 255.0f;
  softmax.step[r] = largest / limit;
  const auto inverse = hn::Set(d, largest > 1e-30f ? limit / largest : 0.0f);
  const float* weights = block.scores + r * kBlockTokens;
  std::uint8_t* high = block.high + r * kBlockTokens;
  std::uint8_t* low = block.low + r * kBlockTokens;
  for (int t = 0; t < kBlockTokens; t += kLanes) {
    const auto number = hn::NearestInt(hn::Mul(hn::Load(d, weights + t), inverse));
    if (wide) {
      hn::StoreU(hn::DemoteTo(db, hn::And(number, hn::Set(di, 255))), db, low + t);
      hn::StoreU(hn::DemoteTo(db, hn::ShiftRight<8>(number)), db, high + t);
    } else {
      hn::StoreU(hn::DemoteTo(db, number), db, high + t);
    }
  }
}

// The rows [first, first + R), step by step for all of them, as the latencies of one row would add up. Rows
// beyond the query's are carried along.
template <int R>
HWY_INLINE void weigh_group(BlockSoftmax& softmax, const BlockScores& block, const float* key_factors,
                            const float* value_factors, int first) {
  constexpr float kLog2E = 1.44269504f;
  const Floats d;
  float* scores = block.scores + first * kBlockTokens;
  alignas(16) float highest[4], largest[4];
  FloatVector of_row[R];
  for (int r = 0; r < R; ++r) {
    float* row = scores + r * kBlockTokens;
    const auto offset = hn::Set(d, softmax.offset[first + r]);
    auto max = hn::Set(d, -std::numeric_limits<float>::infinity());
    for (int t = 0; t < kBlockTokens; t += kLanes) {
      const auto score = hn::MulAdd(hn::Load(d, row + t), hn::Load(d, key_factors + t), offset);
      hn::Store(score, d, row + t);
      max = hn::Max(max, score);
    }
    of_row[r] = max;
  }
  if (softmax.masked(block.first)) {
    for (int r = 0; r < R && first + r < softmax.query.rows; ++r) {
      float* row = scores + r * kBlockTokens;
      hide_tokens(row, softmax.query.begin[first + r] - block.first,
                  softmax.query.end[first + r] - block.first);
      of_row[r] = hn::Load(d, row);
      for (int t = kLanes; t < kBlockTokens; t += kLanes)
        of_row[r] = hn::Max(of_row[r], hn::Load(d, row + t));
    }
  }
  max_of_rows<R>(of_row, highest);
  for (int r = 0; r < R; ++r) {
    if (highest[r] > softmax.max[first + r]) shrink_row(softmax, first + r, highest[r]);
  }
  for (int r = 0; r < R; ++r) {
    float* row = scores + r * kBlockTokens;
    const float max = softmax.max[first + r];
    const bool nothing = max == -std::numeric_limits<float>::infinity();
    const auto reference = hn::Set(d, nothing ? 0.0f : -max * kLog2E);
    auto total = hn::Zero(d), most = hn::Zero(d);
    for (int t = 0; t < kBlockTokens; t += kLanes) {
      auto weight = exp2_of(hn::MulAdd(hn::Load(d, row + t), hn::Set(d, kLog2E), reference));
      total = hn::Add(total, weight);
      weight = hn::Mul(weight, hn::Load(d, value_factors + t));
      most = hn::Max(most, weight);
      hn::Store(weight, d, row + t);
    }
    float* totals = softmax.total + (first + r) * kTotalLanes;
    hn::Store(hn::Add(hn::Load(d, totals), total), d, totals);
    of_row[r] = most;
  }
  if (softmax.form == WeightForm::f32) return;
  max_of_rows<R>(of_row, largest);
  for (int r = 0; r < R; ++r) round_weights(softmax, block, first + r, largest[r]);
}

HWY_INLINE void weigh_rows(BlockSoftmax& softmax, const BlockScores& block) {
  alignas(64) float key_factors[kBlockTokens], value_factors[kBlockTokens];
  load_block_scales(block.key_scale, block.key_scales, key_factors);
  load_block_scales(block.value_scale, block.value_scales, value_factors);
  if (softmax.query.rows == 1) return weigh_group<1>(softmax, block, key_factors, value_factors, 0);
  for (int r = 0; r < softmax.query.rows; r += 4)
    weigh_group<4>(softmax, block, key_factors, value_factors, r);
}

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();
#endif
