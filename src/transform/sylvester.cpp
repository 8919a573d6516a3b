#include "transform/sylvester.hpp"

#include "core/dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "transform/sylvester.cpp"
#define HWY_WANT_AVX3_DL
// Vectors of unknown length cannot be held in arrays; Arm CPUs that have them run the NEON code.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace veloxquant::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Lane i of the result is lane i ^ distance of v.
template <int distance, class D>
HWY_INLINE hn::Vec<D> exchange(D d, hn::Vec<D> v) {
  if constexpr (distance == 1) return hn::Reverse2(d, v);
  if constexpr (distance == 2) return hn::Shuffle1032(v);
  if constexpr (distance == 4) return hn::SwapAdjacentBlocks(v);
  if constexpr (distance == 8) return hn::ConcatLowerUpper(d, v, v);
}

// The stages of distances `distance`, distance / 2, .. 1 within registers. The second of a pair becomes a -
// b as a + (-1) b: the product is exact, so that it does not matter whether multiply and add are fused.
template <int distance, class D, std::size_t vectors>
HWY_INLINE void lane_stages(D d, hn::Vec<D> (&v)[vectors]) {
  if constexpr (distance > 0) {
    HWY_ALIGN float signs[hn::MaxLanes(D())];
    for (int i = 0; i < static_cast<int>(hn::MaxLanes(d)); ++i) signs[i] = (i & distance) != 0 ? -1.0f : 1.0f;
    const auto sign = hn::Load(d, signs);
    for (auto& x : v) x = hn::MulAdd(x, sign, exchange<distance>(d, x));
    lane_stages<distance / 2>(d, v);
  }
}

// y = H_n x, or H_n D x, for as many coordinates as are held in registers; y may be x.
template <int n, bool scaled>
HWY_INLINE void multiply_in_registers(const float* x, const float* factors, float* y) {
  const hn::CappedTag<float, n> d;
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(hn::CappedTag<float, n>()));
  constexpr int kVectors = n / kLanes;
  hn::Vec<decltype(d)> v[kVectors];
  for (int i = 0; i < kVectors; ++i) {
    v[i] = hn::LoadU(d, x + i * kLanes);
    if constexpr (scaled) v[i] = hn::Mul(v[i], hn::LoadU(d, factors + i * kLanes));
  }
  for (int half = kVectors / 2; half > 0; half /= 2) {
    for (int i = 0; i < kVectors; ++i) {
      if ((i & half) != 0) continue;
      const auto a = v[i], b = v[i + half];
      v[i] = hn::Add(a, b);
      v[i + half] = hn::Sub(a, b);
    }
  }
  lane_stages<kLanes / 2>(d, v);
  for (int i = 0; i < kVectors; ++i) hn::StoreU(v[i], d, y + i * kLanes);
}

// Coordinates in 16 registers.
constexpr int kInRegisters = 16 * static_cast<int>(hn::MaxLanes(hn::CappedTag<float, 16>()));

template <bool scaled>
HWY_INLINE void multiply_small(const float* x, const float* factors, int n, float* y) {
  switch (n) {
    case 256:
      if constexpr (kInRegisters >= 256) multiply_in_registers<256, scaled>(x, factors, y);
      break;
    case 128:
      if constexpr (kInRegisters >= 128) multiply_in_registers<128, scaled>(x, factors, y);
      break;
    case 64:
      if constexpr (kInRegisters >= 64) multiply_in_registers<64, scaled>(x, factors, y);
      break;
    case 32:
      if constexpr (kInRegisters >= 32) multiply_in_registers<32, scaled>(x, factors, y);
      break;
    case 16:
      multiply_in_registers<16, scaled>(x, factors, y);
      break;
    case 8:
      multiply_in_registers<8, scaled>(x, factors, y);
      break;
    case 4:
      multiply_in_registers<4, scaled>(x, factors, y);
      break;
    default:
      multiply_in_registers<2, scaled>(x, factors, y);
  }
}

HWY_INLINE void butterfly(float* HWY_RESTRICT x, float* HWY_RESTRICT y, int count) {
  const hn::CappedTag<float, 16> d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  for (int i = 0; i < count; i += lanes) {
    const auto a = hn::LoadU(d, x + i), b = hn::LoadU(d, y + i);
    hn::StoreU(hn::Add(a, b), d, x + i);
    hn::StoreU(hn::Sub(a, b), d, y + i);
  }
}

void multiply_sylvester(float* x, int n) {
  int size = n;
  for (; size > kInRegisters; size /= 2) {
    for (int begin = 0; begin < n; begin += size) butterfly(x + begin, x + begin + size / 2, size / 2);
  }
  for (float* const end = x + n; x != end; x += size) multiply_small<false>(x, nullptr, size, x);
}

void multiply_sylvester_rounds(const float* x, std::size_t count, int n, const float* const* factors,
                               std::size_t rounds, float* y) {
  for (std::size_t i = 0; i < count; ++i, x += n, y += n) {
    const float* from = x;
    for (std::size_t r = 0; r < rounds; ++r, from = y) {
      if (n <= kInRegisters) {
        multiply_small<true>(from, factors[r], n, y);
      } else {
        for (int c = 0; c < n; ++c) y[c] = from[c] * factors[r][c];
        multiply_sylvester(y, n);
      }
    }
  }
}

}  // namespace veloxquant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(multiply_sylvester);
HWY_EXPORT(multiply_sylvester_rounds);

void multiply_sylvester(float* x, int n) { VELOX_DISPATCH(multiply_sylvester)(x, n); }

void multiply_sylvester_rounds(const float* x, std::size_t count, int n,
                               std::span<const float* const> factors, float* y) {
  VELOX_DISPATCH(multiply_sylvester_rounds)(x, count, n, factors.data(), factors.size(), y);
}

}  // namespace veloxquant
#endif
