#include "codebook/vector_scale.hpp"

#include <algorithm>
#include <cmath>

#include "codebook/row_math.hpp"
#include "core/dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codebook/vector_scale.cpp"
#define HWY_WANT_AVX3_DL
// Vectors of unknown length cannot be held in arrays; Arm CPUs that have them run the NEON code.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace veloxquant::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// dot() of row_math.hpp: its eight partial sums are lanes. With `squares` b is a, and converted once.
template <bool squares>
HWY_INLINE double dot_in_order(const float* a, const float* b, int count) {
  const hn::CappedTag<double, 8> d;
  const hn::Rebind<float, decltype(d)> df;
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(hn::CappedTag<double, 8>())), kVectors = 8 / kLanes;
  hn::Vec<decltype(d)> sums[kVectors];
  for (auto& sum : sums) sum = hn::Zero(d);
  int i = 0;
  for (; i + 8 <= count; i += 8) {
    for (int v = 0; v < kVectors; ++v) {
      const int at = i + v * kLanes;
      const auto left = hn::PromoteTo(d, hn::LoadU(df, a + at));
      const auto right = squares ? left : hn::PromoteTo(d, hn::LoadU(df, b + at));
      sums[v] = hn::Add(sums[v], hn::Mul(left, right));
    }
  }
  HWY_ALIGN double lanes[8];
  for (int v = 0; v < kVectors; ++v) hn::Store(sums[v], d, lanes + v * kLanes);
  for (int lane = 0; i + lane < count; ++lane) lanes[lane] += static_cast<double>(a[i + lane]) * b[i + lane];
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

void dots(const float* a, const float* b, std::size_t count, int d, double* sums) {
  if (a == b) {
    for (std::size_t i = 0; i < count; ++i, a += d) sums[i] = dot_in_order<true>(a, a, d);
  } else {
    for (std::size_t i = 0; i < count; ++i, a += d, b += d) sums[i] = dot_in_order<false>(a, b, d);
  }
}

void to_unit_variance(const float* x, std::size_t count, int d, float* z, double* r) {
  const hn::CappedTag<float, 16> tag;
  const int lanes = static_cast<int>(hn::Lanes(tag));
  dots(x, x, count, d, r);
  for (std::size_t i = 0; i < count; ++i, x += d, z += d) {
    const double rms = std::sqrt(r[i] / d);
    const bool zero = rms < 0x1p-40;
    r[i] = zero ? 0 : rms;
    const float inverse = zero ? 0.0f : static_cast<float>(1 / rms);
    int c = 0;
    for (; c + lanes <= d; c += lanes)
      hn::StoreU(hn::Mul(hn::LoadU(tag, x + c), hn::Set(tag, inverse)), tag, z + c);
    for (; c < d; ++c) z[c] = x[c] * inverse;
  }
}

}  // namespace veloxquant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(dots);
HWY_EXPORT(to_unit_variance);

void to_unit_variance(const float* x, std::size_t count, int d, float* z, double* r) {
  VELOX_DISPATCH(to_unit_variance)(x, count, d, z, r);
}

void store_vector_scales(ScaleMode mode, const double* r, const float* z, const float* y, std::size_t count,
                         int d, std::uint8_t* scales) {
  constexpr std::size_t kRows = 64;
  double sums[kRows] = {};
  const auto row = static_cast<std::size_t>(d);
  for (std::size_t begin = 0; begin < count; begin += kRows) {
    const std::size_t end = std::min(count, begin + kRows);
    if (mode != ScaleMode::one) {
      const float* points = y + begin * row;
      VELOX_DISPATCH(dots)(points, mode == ScaleMode::unbiased ? z + begin * row : points, end - begin, d,
                           sums);
    }
    for (std::size_t i = begin; i < end; ++i) {
      const double sum = sums[i - begin];
      double factor = 1;
      if (mode == ScaleMode::unbiased && sum > 0) {
        factor = d / sum;
      } else if (mode != ScaleMode::one) {
        const float* point = y + i * row;
        factor = std::sqrt(d / (mode == ScaleMode::matched ? sum : dot(point, point, d)));
      }
      store_f16(r[i] == 0 ? 0 : r[i] * factor, "scale", scales, static_cast<int>(i));
    }
  }
}

}  // namespace veloxquant
#endif
