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

// f16 scales [64] as floats, or ones.
HWY_INLINE void load_block_scales(const std::uint8_t* scales, float* factors) {
  const Floats d;
  for (int t = 0; t < kBlockTokens; t += kLanes) {
    hn::Store(scales != nullptr ? load_f16(d, scales + 2 * t) : hn::Set(d, 1.0f), d, factors + t);
  }
}

// Scores of tokens outside [begin, end) of the block <- -infinity.
HWY_INLINE void hide_tokens(float* scores, std::int64_t begin, std::int64_t end) {
  for (std::int64_t t = 0; t < kBlockTokens; ++t) {
    if (t < begin || t >= end) scores[t] = -std::numeric_limits<float>::infinity();
  }
}

HWY_INLINE void shrink_row(BlockSoftmax& softmax, int r, float max) {
  const Floats d;
  const float shrink = hn::GetLane(exp_not_above_zero(hn::Set(d, softmax.max[r] - max)));
  softmax.max[r] = max;
  softmax.total[r] *= shrink;
  float* sums = softmax.sums + static_cast<std::size_t>(r) * softmax.stride;
  const auto factor = hn::Set(d, shrink);
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

HWY_INLINE void weigh_row(BlockSoftmax& softmax, const BlockScores& block, const float* key_factors,
                          const float* value_factors, int r) {
  const Floats d;
  float* scores = block.scores + r * kBlockTokens;
  const auto offset = hn::Set(d, softmax.offset[r]);
  hn::Vec<Floats> score[kBlockVectors];
  for (int i = 0; i < kBlockVectors; ++i) {
    score[i] = hn::MulAdd(hn::Load(d, scores + i * kLanes), hn::Load(d, key_factors + i * kLanes), offset);
  }
  const std::int64_t begin = softmax.query.begin[r] - block.first, end = softmax.query.end[r] - block.first;
  if (begin > 0 || end < kBlockTokens) {
    for (int i = 0; i < kBlockVectors; ++i) hn::Store(score[i], d, scores + i * kLanes);
    hide_tokens(scores, begin, end);
    for (int i = 0; i < kBlockVectors; ++i) score[i] = hn::Load(d, scores + i * kLanes);
  }
  auto highest = score[0];
  for (int i = 1; i < kBlockVectors; ++i) highest = hn::Max(highest, score[i]);
  const float max = hn::GetLane(hn::MaxOfLanes(d, highest));
  if (max > softmax.max[r]) shrink_row(softmax, r, max);
  const bool nothing = softmax.max[r] == -std::numeric_limits<float>::infinity();
  const auto reference = hn::Set(d, nothing ? 0.0f : softmax.max[r]);
  auto total = hn::Zero(d), largest = hn::Zero(d);
  for (int i = 0; i < kBlockVectors; ++i) {
    auto weight = exp_not_above_zero(hn::Sub(score[i], reference));
    total = hn::Add(total, weight);
    weight = hn::Mul(weight, hn::Load(d, value_factors + i * kLanes));
    largest = hn::Max(largest, weight);
    hn::Store(weight, d, scores + i * kLanes);
  }
  softmax.total[r] += hn::GetLane(hn::SumOfLanes(d, total));
  if (softmax.form != WeightForm::f32) {
    round_weights(softmax, block, r, hn::GetLane(hn::MaxOfLanes(d, largest)));
  }
}

HWY_INLINE void weigh_rows(BlockSoftmax& softmax, const BlockScores& block) {
  alignas(64) float key_factors[kBlockTokens], value_factors[kBlockTokens];
  load_block_scales(block.key_scales, key_factors);
  load_block_scales(block.value_scales, value_factors);
  for (int r = 0; r < softmax.query.rows; ++r) weigh_row(softmax, block, key_factors, value_factors, r);
}

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();
#endif
