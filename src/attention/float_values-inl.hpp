// Stored floating-point values to lanes of floats: f32, f16, bf16, fp8. Included once per CPU target.
//
// load() gives kLanes values from any address, each as kScale * (what it gives): fp8 is cheapest to read with
// another exponent, which the user of many values corrects once.
#if defined(VELOXQUANT_ATTENTION_FLOAT_VALUES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef VELOXQUANT_ATTENTION_FLOAT_VALUES_INL
#undef VELOXQUANT_ATTENTION_FLOAT_VALUES_INL
#else
#define VELOXQUANT_ATTENTION_FLOAT_VALUES_INL
#endif

#include <veloxquant/core/half.hpp>

#include "attention/vector_math-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {

struct SingleValues {
  using Stored = float;
  static constexpr float kScale = 1;
  static HWY_INLINE FloatVector load(const std::uint8_t* values) {
    return hn::LoadU(Floats(), reinterpret_cast<const float*>(values));
  }
};

struct HalfValues {
  using Stored = f16;
  static constexpr float kScale = 1;
  static HWY_INLINE FloatVector load(const std::uint8_t* values) { return load_f16(Floats(), values); }
};

struct BrainValues {
  using Stored = bf16;
  static constexpr float kScale = 1;
  static HWY_INLINE FloatVector load(const std::uint8_t* values) {
    const Floats d;
    const hn::RebindToUnsigned<Floats> dw;
    const hn::Rebind<std::uint16_t, Floats> dh;
    const auto bits = hn::LoadU(dh, reinterpret_cast<const std::uint16_t*>(values));
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(dw, bits)));
  }
};

struct Fp8Values {
  using Stored = fp8_e4m3;
#if HWY_ARCH_X86 && HWY_TARGET > HWY_AVX2
  // Without conversion of halves. Exponent and fraction moved into place are 2^-120 too small; the product is
  // exact, also for subnormals.
  static constexpr float kScale = 1;
  static HWY_INLINE FloatVector load(const std::uint8_t* values) {
    const Floats d;
    const hn::RebindToUnsigned<Floats> dw;
    const hn::Rebind<std::uint8_t, Floats> db;
    const auto bits = hn::PromoteTo(dw, hn::LoadU(db, values));
    const auto magnitude = hn::And(bits, hn::Set(dw, 0x7fu));
    const auto sign = hn::ShiftLeft<24>(hn::And(bits, hn::Set(dw, 0x80u)));
    const auto finite = hn::Mul(hn::BitCast(d, hn::ShiftLeft<20>(magnitude)), hn::Set(d, 0x1p120f));
    const auto nan = hn::BitCast(d, hn::Set(dw, 0x7fc00000u));
    const auto is_nan = hn::RebindMask(d, hn::Eq(magnitude, hn::Set(dw, 0x7fu)));
    return hn::Or(hn::IfThenElse(is_nan, nan, finite), hn::BitCast(d, sign));
  }
#else
  // As halves with the same exponent and fraction, 2^-8 too small, subnormals too.
  static constexpr float kScale = 256;
  static HWY_INLINE FloatVector load(const std::uint8_t* values) {
    const hn::Rebind<std::int8_t, Floats> db;
    const hn::Rebind<std::int16_t, Floats> dh;
    const auto bytes = hn::LoadU(db, reinterpret_cast<const std::int8_t*>(values));
    // The sign was extended: its second copy goes, which stands where halves have exponents beyond fp8's.
    const auto half = hn::And(hn::ShiftLeft<7>(hn::PromoteTo(dh, bytes)), hn::Set(dh, ~0x4000));
    const auto top = hn::Set(dh, 0x3f80);
    const auto nan = hn::VecFromMask(dh, hn::Eq(hn::And(half, top), top));
    return hn::PromoteTo(Floats(), hn::BitCast(hn::Rebind<hwy::float16_t, Floats>(), hn::Or(half, nan)));
  }
#endif
};

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();
#endif
