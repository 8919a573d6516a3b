// The two products of few query rows with a decoded tile: lanes run along the head dimension.
#if defined(VELOXQUANT_ATTENTION_FEW_ROWS_PRODUCTS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef VELOXQUANT_ATTENTION_FEW_ROWS_PRODUCTS_INL
#undef VELOXQUANT_ATTENTION_FEW_ROWS_PRODUCTS_INL
#else
#define VELOXQUANT_ATTENTION_FEW_ROWS_PRODUCTS_INL
#endif

#include "attention/vector_math-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {

// Sums of the lanes of four vectors, each 128-bit block by itself: (a, b, c, d) in every block.
HWY_INLINE FloatVector add_lanes_in_blocks(const FloatVector* v) {
  const Floats d;
  const hn::RepartitionToWide<Floats> dw;
  const auto ab = hn::Add(hn::InterleaveLower(d, v[0], v[1]), hn::InterleaveUpper(d, v[0], v[1]));
  const auto cd = hn::Add(hn::InterleaveLower(d, v[2], v[3]), hn::InterleaveUpper(d, v[2], v[3]));
  const auto abw = hn::BitCast(dw, ab), cdw = hn::BitCast(dw, cd);
  return hn::Add(hn::BitCast(d, hn::InterleaveLower(dw, abw, cdw)),
                 hn::BitCast(d, hn::InterleaveUpper(dw, abw, cdw)));
}

// Lane i of the result is the sum of the lanes of v[i].
template <int Lanes>
HWY_INLINE FloatVector add_lanes(const FloatVector* v) {
  const Floats d;
  const FloatVector first = add_lanes_in_blocks(v);
  if constexpr (Lanes == 4) {
    return first;
  } else if constexpr (Lanes == 8) {
    const FloatVector second = add_lanes_in_blocks(v + 4);
    return hn::Add(hn::ConcatLowerLower(d, second, first), hn::ConcatUpperUpper(d, second, first));
  } else {
    static_assert(Lanes == 16);
    const FloatVector second = add_lanes_in_blocks(v + 4), third = add_lanes_in_blocks(v + 8),
                      fourth = add_lanes_in_blocks(v + 12);
    auto even = hn::Add(hn::ConcatLowerLower(d, third, first), hn::ConcatUpperUpper(d, third, first));
    auto odd = hn::Add(hn::ConcatLowerLower(d, fourth, second), hn::ConcatUpperUpper(d, fourth, second));
    even = hn::Add(even, hn::SwapAdjacentBlocks(even));
    odd = hn::Add(odd, hn::SwapAdjacentBlocks(odd));
    return hn::OddEvenBlocks(odd, even);
  }
}

// scores[t, r] <- <tile[t], queries[r]> for t below `count` rounded up to T.
template <int R>
HWY_INLINE void score_tile(const float* queries, const float* tile, std::size_t stride, int count,
                           float* scores) {
  constexpr int T = kLanes / R;
  const Floats d;
  for (int t = 0; t < count; t += T) {
    const float* keys = tile + static_cast<std::size_t>(t) * stride;
    FloatVector products[kLanes];
    for (int i = 0; i < kLanes; ++i) products[i] = hn::Zero(d);
    for (std::size_t c = 0; c < stride; c += kLanes) {
      FloatVector q[R];
      for (int r = 0; r < R; ++r) q[r] = hn::Load(d, queries + static_cast<std::size_t>(r) * stride + c);
      for (int i = 0; i < T; ++i) {
        const auto k = hn::Load(d, keys + static_cast<std::size_t>(i) * stride + c);
        for (int r = 0; r < R; ++r) products[i * R + r] = hn::MulAdd(k, q[r], products[i * R + r]);
      }
    }
    hn::Store(add_lanes<kLanes>(products), d, scores + t * R);
  }
}

// sums[r, c..] += sum_t weights[t, r] * tile[t, c..] for `Vectors` vectors of columns.
template <int R, int Vectors>
HWY_INLINE void add_columns(const float* weights, const float* tile, std::size_t stride, int count,
                            float* sums) {
  const Floats d;
  FloatVector part[R * Vectors];
  for (int i = 0; i < R * Vectors; ++i) part[i] = hn::Zero(d);
  for (int t = 0; t < count; ++t, tile += stride, weights += R) {
    FloatVector v[Vectors];
    for (int j = 0; j < Vectors; ++j) v[j] = hn::Load(d, tile + j * kLanes);
    for (int r = 0; r < R; ++r) {
      const auto weight = hn::Set(d, weights[r]);
      for (int j = 0; j < Vectors; ++j)
        part[r * Vectors + j] = hn::MulAdd(weight, v[j], part[r * Vectors + j]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int j = 0; j < Vectors; ++j) {
      float* sum = sums + static_cast<std::size_t>(r) * stride + static_cast<std::size_t>(j * kLanes);
      hn::Store(hn::Add(hn::Load(d, sum), part[r * Vectors + j]), d, sum);
    }
  }
}

template <int R>
HWY_INLINE void add_tile(const float* weights, const float* tile, std::size_t stride, int count,
                         float* sums) {
  constexpr int Vectors = kManyRegisters ? 4 : 2;
  std::size_t c = 0;
  for (; c + Vectors * kLanes <= stride; c += Vectors * kLanes) {
    add_columns<R, Vectors>(weights, tile + c, stride, count, sums + c);
  }
  for (; c < stride; c += kLanes) add_columns<R, 1>(weights, tile + c, stride, count, sums + c);
}

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();
#endif
