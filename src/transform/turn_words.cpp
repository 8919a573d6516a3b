#include "transform/turn_words.hpp"

#include "core/dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "transform/turn_words.cpp"
#define HWY_WANT_AVX3_DL
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace veloxquant::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
HWY_INLINE void turn_some(D d, const float* cosines, const float* sines, const float* firsts,
                          const float* seconds, std::int32_t* words) {
  const hn::RebindToSigned<D> di;
  const auto cosine = hn::LoadU(d, cosines), sine = hn::LoadU(d, sines);
  const auto a = hn::LoadU(d, firsts), b = hn::LoadU(d, seconds);
  const auto first = hn::NearestInt(hn::MulAdd(b, sine, hn::Mul(a, cosine)));
  const auto second = hn::NearestInt(hn::NegMulAdd(a, sine, hn::Mul(b, cosine)));
  hn::StoreU(hn::Or(hn::And(first, hn::Set(di, 0xffff)), hn::ShiftLeft<16>(second)), di, words);
}

void turn_to_words(const float* cosines, const float* sines, int pairs, const float* firsts,
                   const float* seconds, int rows, std::int32_t* words) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const int lanes = static_cast<int>(hn::Lanes(d));
  for (int r = 0; r < rows; ++r, firsts += pairs, seconds += pairs, words += pairs) {
    int p = 0;
    for (; p + lanes <= pairs; p += lanes)
      turn_some(d, cosines + p, sines + p, firsts + p, seconds + p, words + p);
    for (; p < pairs; ++p) turn_some(one, cosines + p, sines + p, firsts + p, seconds + p, words + p);
  }
}

}  // namespace veloxquant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(turn_to_words);

void turn_back_to_words(const TurnAngles& angles, const float* firsts, const float* seconds, int rows,
                        std::int32_t* words) {
  VELOX_DISPATCH(turn_to_words)
  (angles.cosines.data(), angles.sines.data(), static_cast<int>(angles.cosines.size()), firsts, seconds, rows,
   words);
}

}  // namespace veloxquant
#endif
