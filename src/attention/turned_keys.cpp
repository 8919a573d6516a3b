#include "attention/turned_keys.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "attention/block_rows.hpp"
#include "core/dispatch.hpp"
#include "linalg/matrix_vector.hpp"
#include "transform/turn_words.hpp"

#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#define HWY_WANT_AVX3_DL
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/turned_keys.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "attention/vector_math-inl.hpp"

#ifndef VELOXQUANT_TURNED_KEYS_ONCE
#define VELOXQUANT_TURNED_KEYS_ONCE
namespace veloxquant {

// Some pairs of coordinates of a block's keys, and what they meet.
struct TurnedPairs {
  const float* keys;              // [pair][2][64]
  const float* turns;             // [pair][cosine and sine][64]
  const float *firsts, *seconds;  // of the queries, [row][`stride`]
  std::size_t stride;
  int pairs, rows;
};

}  // namespace veloxquant
#endif

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {

template <int R>
HWY_INLINE void add_pairs(const TurnedPairs& some, float* scores) {
  const Floats d;
  for (int t = 0; t < kBlockTokens; t += kLanes) {
    FloatVector sums[R];
    for (int r = 0; r < R; ++r) sums[r] = hn::Load(d, scores + r * kBlockTokens + t);
    for (int p = 0; p < some.pairs; ++p) {
      const float *key = some.keys + 2 * p * kBlockTokens + t, *turn = some.turns + 2 * p * kBlockTokens + t;
      const auto a = hn::Load(d, key), b = hn::Load(d, key + kBlockTokens);
      const auto cosine = hn::LoadU(d, turn), sine = hn::LoadU(d, turn + kBlockTokens);
      const auto first = hn::NegMulAdd(b, sine, hn::Mul(a, cosine));
      const auto second = hn::MulAdd(a, sine, hn::Mul(b, cosine));
      for (std::size_t r = 0; r < R; ++r) {
        const std::size_t at = r * some.stride + static_cast<std::size_t>(p);
        sums[r] = hn::MulAdd(first, hn::Set(d, some.firsts[at]), sums[r]);
        sums[r] = hn::MulAdd(second, hn::Set(d, some.seconds[at]), sums[r]);
      }
    }
    for (int r = 0; r < R; ++r) hn::Store(sums[r], d, scores + r * kBlockTokens + t);
  }
}

// scores += the products of the turned keys with the rows.
void add_turned_pairs(const TurnedPairs& some, float* scores) {
  with_row_width(some.rows, [&]<int Rows>() HWY_ATTR { add_pairs<Rows>(some, scores); });
}

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(add_turned_pairs);

namespace {

// The angles of the frames' starts, by the token of a block.
std::shared_ptr<const std::vector<float>> turns_of_tokens(const RopeTurn& turn, std::int64_t frame) {
  const std::size_t pairs = turn.pairs().size();
  std::vector<float> turns(2 * pairs * kBlockTokens);
  for (std::size_t t = 0; t < kBlockTokens; ++t) {
    const auto place = static_cast<std::int64_t>(t);
    const TurnAngles angles = turn.angles(place - place % frame);
    for (std::size_t p = 0; p < pairs; ++p) {
      turns[2 * p * kBlockTokens + t] = angles.cosines[p];
      turns[(2 * p + 1) * kBlockTokens + t] = angles.sines[p];
    }
  }
  return std::make_shared<const std::vector<float>>(std::move(turns));
}

}  // namespace

std::shared_ptr<const TurnedKeys> TurnedKeys::make(const CodedBasis& basis, const KeyKernel& kernel,
                                                   const TurnedKeys* another) {
  const KeyFrames frames = basis.key_frames();
  const bool whole = frames.length > 0 && kBlockTokens % frames.length == 0;
  if (!whole || kernel.scores == nullptr) return nullptr;
  const int dims = 2 * static_cast<int>(frames.turn->pairs().size());
  return kernel.most_rows >= dims ? std::make_shared<const TurnedKeys>(basis, kernel, another) : nullptr;
}

TurnedKeys::TurnedKeys(const CodedBasis& basis, const KeyKernel& kernel, const TurnedKeys* another)
    : kernel_(kernel),
      turn_(basis.key_frames().turn),
      pairs_(turn_->pairs().size()),
      frame_(basis.key_frames().length) {
  constexpr std::size_t kAlignment = 64;
  const KeyFrames frames = basis.key_frames();
  const std::size_t groups = (pairs_ + kPairs - 1) / kPairs;
  memory_.resize(groups * kernel_.prepared_bytes + kAlignment);
  void* aligned = memory_.data();
  std::size_t space = memory_.size();
  prepared_ =
      static_cast<std::byte*>(std::align(kAlignment, groups * kernel_.prepared_bytes, aligned, space));

  const auto stride = static_cast<std::size_t>(padded_columns(basis.coded_dim())) + kMatrixPad;
  std::vector<float> rows(kKernelRows * stride);
  for (std::size_t g = 0; g < groups; ++g) {
    std::fill(rows.begin(), rows.end(), 0.0f);
    for (std::size_t p = 0; p < std::min(kPairs, pairs_ - g * kPairs); ++p) {
      const RopeTurn::Pair& pair = turn_->pairs()[g * kPairs + p];
      basis.key_row(pair.first, rows.data() + 2 * p * stride);
      basis.key_row(pair.second, rows.data() + (2 * p + 1) * stride);
    }
    kernel_.prepare(kernel_, rows.data(), stride, kKernelRows, prepared_ + g * kernel_.prepared_bytes);
  }

  if (another != nullptr && another->frame_ == frame_ && another->turn_->pairs() == turn_->pairs()) {
    turns_ = another->turns_;
  } else {
    turns_ = turns_of_tokens(*turn_, frame_);
  }
  std::vector<float> means(2 * pairs_ * kBlockTokens), turned(2 * pairs_);
  for (std::size_t t = 0; t < kBlockTokens; ++t) {
    const auto place = static_cast<std::int64_t>(t);
    turn_->forwards(turn_->angles(place), frames.mean, turned.data());
    for (std::size_t p = 0; p < pairs_; ++p) {
      const RopeTurn::Pair& pair = turn_->pairs()[p];
      means[2 * p * kBlockTokens + t] = turned[static_cast<std::size_t>(pair.first)];
      means[(2 * p + 1) * kBlockTokens + t] = turned[static_cast<std::size_t>(pair.second)];
    }
  }
  means_ = WordMatrix(means.data(), 2 * static_cast<int>(pairs_), kBlockTokens);
  block_turn_ = turn_->angles(kBlockTokens);
}

void TurnedKeys::begin(const float* queries, int rows, TurnedQueries& state) const {
  const std::size_t dim = 2 * pairs_, count = static_cast<std::size_t>(rows);
  state.start = -1;
  state.rows = rows;
  state.firsts.resize(count * pairs_);
  state.seconds.resize(count * pairs_);
  state.turned.assign(2 * kKernelRows * pairs_, 0.0f);
  state.words.resize(count * pairs_);
  state.steps.resize(count);
  for (std::size_t r = 0; r < count; ++r) {
    const float* query = queries + r * dim;
    float squares = 0;
    for (std::size_t i = 0; i < dim; ++i) squares += query[i] * query[i];
    const float norm = std::sqrt(squares), scale = norm > 1e-30f ? kWordNorm / norm : 0.0f;
    state.steps[r] = norm / kWordNorm;
    for (std::size_t p = 0; p < pairs_; ++p) {
      state.firsts[r * pairs_ + p] = scale * query[turn_->pairs()[p].first];
      state.seconds[r * pairs_ + p] = scale * query[turn_->pairs()[p].second];
    }
  }
}

void TurnedKeys::see_from(std::int64_t start, TurnedQueries& state) const {
  // Steps add up their rounding, so that now and then the angles are made anew.
  constexpr std::int64_t kSteps = 32;
  if (state.start >= 0 && start == state.start + kBlockTokens && start / kBlockTokens % kSteps != 0) {
    RopeTurn::advance(state.angles, block_turn_);
  } else if (start != state.start) {
    state.angles = turn_->angles(start);
  }
  state.start = start;
  const float *cosines = state.angles.cosines.data(), *sines = state.angles.sines.data();
  for (std::size_t r = 0; r < static_cast<std::size_t>(state.rows); ++r) {
    const float *a = state.firsts.data() + r * pairs_, *b = state.seconds.data() + r * pairs_;
    float *first = state.turned.data() + r * pairs_, *second = first + kKernelRows * pairs_;
    for (std::size_t p = 0; p < pairs_; ++p) {
      first[p] = state.steps[r] * (a[p] * cosines[p] + b[p] * sines[p]);
      second[p] = state.steps[r] * (b[p] * cosines[p] - a[p] * sines[p]);
    }
  }
  turn_back_to_words(state.angles, state.firsts.data(), state.seconds.data(), state.rows, state.words.data());
}

void TurnedKeys::score(std::int64_t start, const std::uint8_t* block, const std::uint8_t* ahead,
                       TurnedQueries& state, float* scores, float* offsets) const {
  see_from(start, state);
  means_.multiply(state.words.data(), state.steps.data(), state.rows, offsets);
  std::fill(scores, scores + kernel_row_width(state.rows) * kBlockTokens, 0.0f);
  alignas(64) float keys[kKernelRows * kBlockTokens];
  auto* const add = VELOX_DISPATCH(add_turned_pairs);
  const std::byte* prepared = prepared_;
  for (std::size_t p = 0; p < pairs_; p += kPairs, prepared += kernel_.prepared_bytes) {
    kernel_.scores(kernel_, prepared, kKernelRows, block, p == 0 ? ahead : nullptr, 0, kBlockTokens / 16,
                   keys);
    add({.keys = keys,
         .turns = turns_->data() + 2 * p * kBlockTokens,
         .firsts = state.turned.data() + p,
         .seconds = state.turned.data() + kKernelRows * pairs_ + p,
         .stride = pairs_,
         .pairs = static_cast<int>(std::min(kPairs, pairs_ - p)),
         .rows = state.rows},
        scores);
  }
}

}  // namespace veloxquant
#endif
