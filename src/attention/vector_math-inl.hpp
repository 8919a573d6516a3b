// Vector functions that both attention kernels use. Included once per CPU target.
#if defined(VELOXQUANT_ATTENTION_VECTOR_MATH_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef VELOXQUANT_ATTENTION_VECTOR_MATH_INL
#undef VELOXQUANT_ATTENTION_VECTOR_MATH_INL
#else
#define VELOXQUANT_ATTENTION_VECTOR_MATH_INL
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using FloatVector = hn::Vec<Floats>;

inline constexpr int kLanes = static_cast<int>(hn::MaxLanes(Floats()));
// Whether there are 32 vector registers, which sets how many sums a micro-kernel keeps.
inline constexpr bool kManyRegisters = !HWY_ARCH_X86 || HWY_TARGET <= HWY_AVX3;

// f16 values at any address -> floats.
template <class D>
HWY_INLINE hn::Vec<D> load_f16(D d, const std::uint8_t* halves) {
  const hn::Rebind<hwy::float16_t, D> dh;
  return hn::PromoteTo(d, hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(halves)));
}

// factors[0..kRunTokens) <- factor * the f16 scales of `count` tokens, or factor alone when scales is null.
HWY_INLINE void load_token_factors(const std::uint8_t* scales, int count, float factor, float* factors) {
  const Floats d;
  for (int t = 0; t < kRunTokens; t += kLanes) hn::Store(hn::Set(d, factor), d, factors + t);
  if (scales == nullptr) return;
  alignas(64) std::uint8_t padded[2 * kRunTokens] = {};
  std::memcpy(padded, scales, 2 * static_cast<std::size_t>(count));
  for (int t = 0; t < count; t += kLanes) {
    hn::Store(hn::Mul(load_f16(d, padded + 2 * t), hn::Set(d, factor)), d, factors + t);
  }
}

// exp(x) for x <= 0, to 2e-7 of the result; 0 below -87, where the result would leave the normal numbers; NaN
// for NaN. x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, the first with so few bits that n times it
// is exact.
HWY_INLINE FloatVector exp_not_above_zero(FloatVector x) {
  const Floats d;
  const hn::RebindToSigned<Floats> di;
  const auto too_low = hn::Lt(x, hn::Set(d, -87.0f));
  const auto rounded = hn::Round(hn::Mul(hn::IfThenZeroElse(too_low, x), hn::Set(d, 1.44269504f)));
  auto r = hn::NegMulAdd(rounded, hn::Set(d, 0.693359375f), hn::IfThenZeroElse(too_low, x));
  r = hn::NegMulAdd(rounded, hn::Set(d, -2.12194440e-4f), r);
  auto y = hn::Set(d, 1.9875691500e-4f);
  y = hn::MulAdd(y, r, hn::Set(d, 1.3981999507e-3f));
  y = hn::MulAdd(y, r, hn::Set(d, 8.3334519073e-3f));
  y = hn::MulAdd(y, r, hn::Set(d, 4.1665795894e-2f));
  y = hn::MulAdd(y, r, hn::Set(d, 1.6666665459e-1f));
  y = hn::MulAdd(y, r, hn::Set(d, 5.0000001201e-1f));
  y = hn::Add(hn::MulAdd(hn::Mul(r, r), y, r), hn::Set(d, 1.0f));
  const auto exponent = hn::Add(hn::ConvertTo(di, rounded), hn::Set(di, 127));
  const auto power = hn::BitCast(d, hn::ShiftLeft<23>(exponent));
  return hn::IfThenZeroElse(too_low, hn::Mul(y, power));
}

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();
#endif
