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

// What a block's scores and weights are multiplied by.
struct BlockFactors {
  alignas(64) float keys[kBlockTokens];    // the vectors' scales times log2(e)
  alignas(64) float values[kBlockTokens];  // the vectors' scales; over `step` where weights are rounded
  float step = 1;                          // of rounded weights at the block's highest score
};

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
  // With 3 * 2^22 added, the nearest whole number stands in the low bits (nearest() of block_rows.hpp).
  const auto shifted = hn::Add(bounded, hn::Set(d, 12582912.0f));
  const auto r = hn::Sub(bounded, hn::Sub(shifted, hn::Set(d, 12582912.0f)));
  auto y = hn::Set(d, 1.33908633e-3f);
  y = hn::MulAdd(y, r, hn::Set(d, 9.67603177e-3f));
  y = hn::MulAdd(y, r, hn::Set(d, 5.55035695e-2f));
  y = hn::MulAdd(y, r, hn::Set(d, 2.40221068e-1f));
  y = hn::MulAdd(y, r, hn::Set(d, 6.93147182e-1f));
  y = hn::MulAdd(y, r, hn::Set(d, 1.00000012f));
  const auto power =
      hn::BitCast(d, hn::Add(hn::ShiftLeft<23>(hn::BitCast(di, shifted)), hn::Set(di, 127 << 23)));
  return hn::IfThenZeroElse(too_low, hn::Mul(y, power));
#endif
}

// The scales of a block's vectors as floats, times `factor`. Gains are four bits from `gain_bit` on.
HWY_INLINE void load_block_scales(VectorScale form, const std::uint8_t* scales, int gain_bit, float factor,
                                  float* factors) {
  const Floats d;
  const hn::RebindToSigned<Floats> di;
  const hn::Rebind<std::uint8_t, Floats> db;
  const auto by = hn::Set(d, factor);
  for (int t = 0; t < kBlockTokens; t += kLanes) {
    auto scale = by;
    if (form == VectorScale::f16) scale = hn::Mul(by, load_f16(d, scales + 2 * t));
    if (form == VectorScale::gain) {
      // gain_value()
      const auto shared = hn::PromoteTo(di, hn::LoadU(db, scales + t));
      const auto gain = hn::And(hn::ShiftRightSame(shared, gain_bit), hn::Set(di, kGainSteps - 1));
      const auto steps = hn::Sub(gain, hn::Set(di, kGainSteps / 2));
      scale = hn::Mul(by, exp2_of(hn::Mul(hn::ConvertTo(d, steps), hn::Set(d, 0.25f))));
    }
    hn::Store(scale, d, factors + t);
  }
}

HWY_INLINE float largest_of_block(const float* numbers) {
  const Floats d;
  auto most = hn::Load(d, numbers);
  for (int t = kLanes; t < kBlockTokens; t += kLanes) most = hn::Max(most, hn::Load(d, numbers + t));
  return hn::GetLane(hn::MaxOfLanes(d, most));
}

// For blocks with offsets, or that some row does not see all of: scores <- scores * factors + offsets, -infinity
// outside what the row sees; factors <- 1.
HWY_INLINE void settle_scores(const BlockSoftmax& softmax, const BlockScores& block, float* factors) {
  const Floats d;
  for (int r = 0; r < softmax.query.rows; ++r) {
    float* row = block.scores + r * kBlockTokens;
    const float* offsets = block.offsets == nullptr
                               ? nullptr
                               : block.offsets + static_cast<std::size_t>(r) * block.offset_stride;
    for (int t = 0; t < kBlockTokens; t += kLanes) {
      auto score = hn::Mul(hn::Load(d, row + t), hn::Load(d, factors + t));
      if (offsets != nullptr) score = hn::MulAdd(hn::LoadU(d, offsets + t), hn::Set(d, kLog2E), score);
      hn::Store(score, d, row + t);
    }
    if (!softmax.masked(block.first)) continue;
    for (std::int64_t t = 0; t < kBlockTokens; ++t) {
      const std::int64_t token = block.first + t;
      const bool seen = token >= softmax.query.begin[r] && token < softmax.query.end[r];
      if (!seen) row[t] = -std::numeric_limits<float>::infinity();
    }
  }
  std::fill(factors, factors + kBlockTokens, 1.0f);
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

// Rows whose maximum grew: what was summed so far shrinks by `factors`.
HWY_INLINE void shrink_row(BlockSoftmax& softmax, int r, float factor) {
  const Floats d;
  const auto by = hn::Set(d, factor);
  float* total = softmax.total + r * kTotalLanes;
  for (int i = 0; i < kTotalLanes; i += kLanes) hn::Store(hn::Mul(hn::Load(d, total + i), by), d, total + i);
  float* sums = softmax.sums + static_cast<std::size_t>(r) * softmax.stride;
  for (std::size_t c = 0; c < softmax.stride; c += kLanes)
    hn::Store(hn::Mul(hn::Load(d, sums + c), by), d, sums + c);
}

// The maximum of each row in a lane of the first of so many floats.
inline constexpr int kRowLanes = kLanes < 4 ? 4 : kLanes;

// Rows [first, first + 4): their maxima <- with the block's `highest` scores; share[r] <- what a weight of 1 in the
// block is beside the row's maximum, exp2(highest - maximum), 0 for rows that see nothing.
HWY_INLINE void share_of_rows(BlockSoftmax& softmax, int first, const float* highest, float* share) {
  const Floats d;
  const float none = -std::numeric_limits<float>::infinity();
  alignas(64) float grown[kRowLanes];
  bool any = false;
  for (int r = 0; r < 4; ++r) {
    const float own = highest[r] + softmax.offset[first + r], before = softmax.max[first + r];
    any = any || own > before;
    softmax.max[first + r] = std::max(own, before);
    share[r] = own == none ? none : own - softmax.max[first + r];
    grown[r] = before == none ? none : before - softmax.max[first + r];
  }
  for (int i = 0; i < kRowLanes; i += kLanes) hn::Store(exp2_of(hn::Load(d, share + i)), d, share + i);
  if (!any) return;
  for (int i = 0; i < kRowLanes; i += kLanes) hn::Store(exp2_of(hn::Load(d, grown + i)), d, grown + i);
  for (int r = 0; r < 4; ++r) {
    if (grown[r] != 1) shrink_row(softmax, first + r, grown[r]);
  }
}

// Numbers below 2^16 of a block's 64 tokens -> their low bytes (and the bytes above them, if `high`).
HWY_INLINE void store_bytes(const hn::Vec<hn::RebindToSigned<Floats>>* numbers, bool wide, std::uint8_t* low,
                            std::uint8_t* high) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i first = _mm512_packus_epi32(numbers[0].raw, numbers[1].raw);
  const __m512i last = _mm512_packus_epi32(numbers[2].raw, numbers[3].raw);
  const auto store = [&](__m512i a, __m512i b, std::uint8_t* to) {
    _mm512_store_si512(to, _mm512_permutexvar_epi32(order, _mm512_packus_epi16(a, b)));
  };
  if (wide) {
    const __m512i byte = _mm512_set1_epi16(255);
    store(_mm512_and_si512(first, byte), _mm512_and_si512(last, byte), low);
    store(_mm512_srli_epi16(first, 8), _mm512_srli_epi16(last, 8), high);
  } else {
    store(first, last, high);
  }
#elif HWY_TARGET == HWY_AVX2
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7), byte = _mm256_set1_epi16(255);
  const auto store = [&](__m256i a, __m256i b, std::uint8_t* to) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(to),
                       _mm256_permutevar8x32_epi32(_mm256_packus_epi16(a, b), order));
  };
  for (int v = 0; v < kBlockVectors; v += 4, low += 32, high += 32) {
    const __m256i first = _mm256_packus_epi32(numbers[v].raw, numbers[v + 1].raw);
    const __m256i last = _mm256_packus_epi32(numbers[v + 2].raw, numbers[v + 3].raw);
    if (wide) {
      store(_mm256_and_si256(first, byte), _mm256_and_si256(last, byte), low);
      store(_mm256_srli_epi16(first, 8), _mm256_srli_epi16(last, 8), high);
    } else {
      store(first, last, high);
    }
  }
#else
  const hn::RebindToSigned<Floats> di;
  const hn::Rebind<std::uint8_t, Floats> db;
  for (int v = 0; v < kBlockVectors; ++v) {
    if (wide) hn::StoreU(hn::DemoteTo(db, hn::And(numbers[v], hn::Set(di, 255))), db, low + v * kLanes);
    const auto above = wide ? hn::ShiftRight<8>(numbers[v]) : numbers[v];
    hn::StoreU(hn::DemoteTo(db, above), db, high + v * kLanes);
  }
#endif
}

// The rows [first, first + R), step by step for all of them, as the latencies of one row would add up. Rows
// beyond the query's are carried along. Scores are kept as logarithms to base 2.
//
// Rounded weights are exp2(score - highest score of the block) times the value's scale, so their step needs no
// look at the weights: the largest number belongs to the largest scale at the highest score. What the block's
// highest score lies below the row's maximum becomes part of the step.
template <int R>
HWY_INLINE void weigh_group(BlockSoftmax& softmax, const BlockScores& block, const BlockFactors& factors,
                            int first) {
  const Floats d;
  float* scores = block.scores + first * kBlockTokens;
  FloatVector of_row[R];
  for (int r = 0; r < R; ++r) {
    of_row[r] = hn::Mul(hn::Load(d, scores + r * kBlockTokens), hn::Load(d, factors.keys));
    for (int t = kLanes; t < kBlockTokens; t += kLanes) {
      const auto score = hn::Mul(hn::Load(d, scores + r * kBlockTokens + t), hn::Load(d, factors.keys + t));
      of_row[r] = hn::Max(of_row[r], score);
    }
  }
  alignas(64) float highest[kRowLanes], share[kRowLanes];
  std::fill(highest, highest + 4, -std::numeric_limits<float>::infinity());
  max_of_rows<R>(of_row, highest);
  share_of_rows(softmax, first, highest, share);

  for (int r = 0; r < R; ++r) {
    const float* row = scores + r * kBlockTokens;
    const bool whole = softmax.form == WeightForm::f32;
    const float reference = whole ? softmax.max[first + r] - softmax.offset[first + r] : highest[r];
    const bool nothing = reference == -std::numeric_limits<float>::infinity();
    const auto below = hn::Set(d, nothing ? 0.0f : -reference);
    auto total = hn::Zero(d);
    hn::Vec<hn::RebindToSigned<Floats>> numbers[kBlockVectors];
    for (int v = 0; v < kBlockVectors; ++v) {
      const int t = v * kLanes;
      // The maximum is of rounded products: of large scores, an unrounded one may lie above it.
      const auto above = hn::MulAdd(hn::Load(d, row + t), hn::Load(d, factors.keys + t), below);
      auto weight = exp2_of(hn::Min(above, hn::Zero(d)));
      total = hn::Add(total, weight);
      weight = hn::Mul(weight, hn::Load(d, factors.values + t));
      if (whole) {
        hn::Store(weight, d, block.scores + (first + r) * kBlockTokens + t);
      } else {
        // The nearest whole number, as in exp2_of(): NearestInt() also looks after numbers that are too
        // large.
        const auto shifted =
            hn::BitCast(hn::RebindToSigned<Floats>(), hn::Add(weight, hn::Set(d, 8388608.0f)));
        numbers[v] = hn::Sub(shifted, hn::Set(hn::RebindToSigned<Floats>(), 0x4b000000));
      }
    }
    float* totals = softmax.total + (first + r) * kTotalLanes;
    hn::Store(hn::MulAdd(total, hn::Set(d, whole ? 1.0f : share[r]), hn::Load(d, totals)), d, totals);
    if (whole) continue;
    softmax.step[first + r] = share[r] * factors.step;
    store_bytes(numbers, softmax.form == WeightForm::u16, block.low + (first + r) * kBlockTokens,
                block.high + (first + r) * kBlockTokens);
  }
}

HWY_INLINE void weigh_rows(BlockSoftmax& softmax, const BlockScores& block) {
  BlockFactors factors;
  load_block_scales(block.key_scale, block.key_scales, 0, kLog2E, factors.keys);
  load_block_scales(block.value_scale, block.value_scales, block.value_gain_bit, 1.0f, factors.values);
  if (softmax.form != WeightForm::f32) {
    const float largest = largest_of_block(factors.values);
    const float limit = softmax.form == WeightForm::u16 ? 65535.0f : 255.0f;
    const Floats d;
    const auto inverse = hn::Set(d, largest > 1e-30f ? limit / largest : 0.0f);
    for (int t = 0; t < kBlockTokens; t += kLanes)
      hn::Store(hn::Mul(hn::Load(d, factors.values + t), inverse), d, factors.values + t);
    factors.step = largest / limit;
  }
  if (block.offsets != nullptr || softmax.masked(block.first)) settle_scores(softmax, block, factors.keys);
  if (softmax.query.rows == 1) return weigh_group<1>(softmax, block, factors, 0);
  for (int r = 0; r < softmax.query.rows; r += 4) weigh_group<4>(softmax, block, factors, r);
}

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();
#endif
