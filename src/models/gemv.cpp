#include "models/gemv.hpp"

#include "core/dispatch.hpp"

// SVE vectors have no size, so they cannot be held in the arrays of the tile; such CPUs use NEON.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "models/gemv.cpp"
#define HWY_WANT_AVX3_DL
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

template <class D>
HWY_INLINE hn::Vec<D> load_weights(D d, const float* weights) {
  return hn::LoadU(d, weights);
}

// A bf16 is the upper half of its f32.
template <class D>
HWY_INLINE hn::Vec<D> load_weights(D d, const bf16* weights) {
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<std::uint16_t, D> dh;
  const auto halves = hn::LoadU(dh, reinterpret_cast<const std::uint16_t*>(weights));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, halves)));
}

HWY_INLINE float widened(float weight) { return weight; }
HWY_INLINE float widened(bf16 weight) { return to_f32(weight); }

// One tile: `kOutputs` outputs from `first` on, of `kRows` tokens. Several outputs share the loads of x and
// give the adders independent sums. The next tile's weights, which follow, are asked for meanwhile: the
// rows of narrow layers are too short for the CPU to foresee them. Behind the last ones nothing is read.
template <int kOutputs, int kRows, class T>
HWY_INLINE void tile(const T* HWY_RESTRICT weights, const float* HWY_RESTRICT x, std::size_t inputs,
                     std::size_t first, float* HWY_RESTRICT y, std::size_t y_stride) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  const T* HWY_RESTRICT w = weights + first * inputs;
  hn::Vec<decltype(d)> sums[kOutputs][kRows];
  for (auto& of_output : sums) {
    for (auto& sum : of_output) sum = hn::Zero(d);
  }
  std::size_t i = 0;
  for (; i + lanes <= inputs; i += lanes) {
    hn::Vec<decltype(d)> xs[kRows];
    for (int r = 0; r < kRows; ++r) xs[r] = hn::LoadU(d, x + static_cast<std::size_t>(r) * inputs + i);
    for (int o = 0; o < kOutputs; ++o) {
      hwy::Prefetch(w + static_cast<std::size_t>(kOutputs + o) * inputs + i);
      const auto weight = load_weights(d, w + static_cast<std::size_t>(o) * inputs + i);
      for (int r = 0; r < kRows; ++r) sums[o][r] = hn::MulAdd(weight, xs[r], sums[o][r]);
    }
  }
  for (int o = 0; o < kOutputs; ++o) {
    for (int r = 0; r < kRows; ++r) {
      float total = hn::GetLane(hn::SumOfLanes(d, sums[o][r]));
      for (std::size_t rest = i; rest < inputs; ++rest) {
        total += widened(w[static_cast<std::size_t>(o) * inputs + rest]) *
                 x[static_cast<std::size_t>(r) * inputs + rest];
      }
      y[static_cast<std::size_t>(r) * y_stride + first + static_cast<std::size_t>(o)] = total;
    }
  }
}

template <int kRows, class T>
void outputs_of(const T* weights, const float* x, std::size_t inputs, std::size_t begin, std::size_t end,
                float* y, std::size_t y_stride) {
  constexpr int kTile =
      kRows <= 2 ? 4 : 2;  // at most 8 sums: they fit the 16 registers of AVX2 with their operands
  std::size_t o = begin;
  for (; o + kTile <= end; o += kTile) tile<kTile, kRows>(weights, x, inputs, o, y, y_stride);
  for (; o < end; ++o) tile<1, kRows>(weights, x, inputs, o, y, y_stride);
}

template <class T>
void any_rows(const T* weights, const float* x, std::size_t inputs, std::size_t rows, std::size_t begin,
              std::size_t end, float* y, std::size_t y_stride) {
  switch (rows) {
    case 1:
      return outputs_of<1>(weights, x, inputs, begin, end, y, y_stride);
    case 2:
      return outputs_of<2>(weights, x, inputs, begin, end, y, y_stride);
    case 3:
      return outputs_of<3>(weights, x, inputs, begin, end, y, y_stride);
    default:
      return outputs_of<4>(weights, x, inputs, begin, end, y, y_stride);
  }
}

void gemv_bf16(const bf16* weights, const float* x, std::size_t inputs, std::size_t rows, std::size_t begin,
               std::size_t end, float* y, std::size_t y_stride) {
  any_rows(weights, x, inputs, rows, begin, end, y, y_stride);
}

void gemv_f32(const float* weights, const float* x, std::size_t inputs, std::size_t rows, std::size_t begin,
              std::size_t end, float* y, std::size_t y_stride) {
  any_rows(weights, x, inputs, rows, begin, end, y, y_stride);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(gemv_bf16);
HWY_EXPORT(gemv_f32);

void gemv(const bf16* weights, const float* x, std::size_t inputs, std::size_t rows, std::size_t begin,
          std::size_t end, float* y, std::size_t y_stride) {
  VELOX_DISPATCH(gemv_bf16)(weights, x, inputs, rows, begin, end, y, y_stride);
}

void gemv(const float* weights, const float* x, std::size_t inputs, std::size_t rows, std::size_t begin,
          std::size_t end, float* y, std::size_t y_stride) {
  VELOX_DISPATCH(gemv_f32)(weights, x, inputs, rows, begin, end, y, y_stride);
}

}  // namespace veloxquant
#endif  // HWY_ONCE
