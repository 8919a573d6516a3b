#include "models/row_kernels.hpp"

#include "core/dispatch.hpp"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "models/row_kernels.cpp"
#define HWY_WANT_AVX3_DL
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

// After foreach_target.h, which gives every target its turn.
#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::ScalableTag<float>;

void rms_norm_rows(const float* x, const float* HWY_RESTRICT weight, std::size_t count, float eps,
                   float* out) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  auto squares = hn::Zero(d);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto v = hn::LoadU(d, x + i);
    squares = hn::MulAdd(v, v, squares);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, squares));
  for (; i < count; ++i) sum += x[i] * x[i];
  const float factor = 1.0f / std::sqrt(sum / static_cast<float>(count) + eps);
  const auto factors = hn::Set(d, factor);
  for (i = 0; i + lanes <= count; i += lanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, weight + i), hn::Mul(hn::LoadU(d, x + i), factors)), d, out + i);
  }
  for (; i < count; ++i) out[i] = weight[i] * (x[i] * factor);
}

void silu_times_rows(float* HWY_RESTRICT gate, const float* HWY_RESTRICT up, std::size_t count) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  const auto one = hn::Set(d, 1.0f);
  const auto lowest = hn::Set(d, -88.0f);  // exp of more than 88 leaves f32; silu is above -1e-36 there
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto v = hn::Max(lowest, hn::LoadU(d, gate + i));
    const auto silu = hn::Div(v, hn::Add(one, hn::Exp(d, hn::Neg(v))));
    hn::StoreU(hn::Mul(silu, hn::LoadU(d, up + i)), d, gate + i);
  }
  for (; i < count; ++i) gate[i] = gate[i] / (1.0f + std::exp(-gate[i])) * up[i];
}

void add_rows(float* HWY_RESTRICT x, const float* HWY_RESTRICT y, std::size_t count) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    hn::StoreU(hn::Add(hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, x + i);
  for (; i < count; ++i) x[i] += y[i];
}

void rotate_rows(float* HWY_RESTRICT head, const float* HWY_RESTRICT cosines, const float* HWY_RESTRICT sines,
                 std::size_t pairs) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= pairs; i += lanes) {
    const auto low = hn::LoadU(d, head + i), high = hn::LoadU(d, head + pairs + i);
    const auto c = hn::LoadU(d, cosines + i), s = hn::LoadU(d, sines + i);
    hn::StoreU(hn::Sub(hn::Mul(low, c), hn::Mul(high, s)), d, head + i);
    hn::StoreU(hn::Add(hn::Mul(high, c), hn::Mul(low, s)), d, head + pairs + i);
  }
  for (; i < pairs; ++i) {
    const float low = head[i], high = head[pairs + i];
    head[i] = low * cosines[i] - high * sines[i];
    head[pairs + i] = high * cosines[i] + low * sines[i];
  }
}

// Highway's own conversion truncates on older CPUs, so the rounding is spelled out.
void round_rows(const float* HWY_RESTRICT x, std::size_t count, bf16* HWY_RESTRICT out) {
  const Floats d;
  const hn::RebindToUnsigned<Floats> du;
  const hn::Rebind<std::uint16_t, Floats> dh;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto v = hn::LoadU(d, x + i);
    const auto bits = hn::BitCast(du, v);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
    const auto nearest = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fff))));
    const auto quiet = hn::Or(hn::ShiftRight<16>(bits), hn::Set(du, 0x40));
    const auto nan = hn::RebindMask(du, hn::IsNaN(v));
    hn::StoreU(hn::TruncateTo(dh, hn::IfThenElse(nan, quiet, nearest)), dh,
               reinterpret_cast<std::uint16_t*>(out + i));
  }
  for (; i < count; ++i) out[i] = to_bf16(x[i]);
}

void widen_rows(const bf16* HWY_RESTRICT x, std::size_t count, float* HWY_RESTRICT out) {
  const Floats d;
  const hn::RebindToUnsigned<Floats> du;
  const hn::Rebind<std::uint16_t, Floats> dh;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto halves = hn::LoadU(dh, reinterpret_cast<const std::uint16_t*>(x + i));
    hn::StoreU(hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, halves))), d, out + i);
  }
  for (; i < count; ++i) out[i] = to_f32(x[i]);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(rms_norm_rows);
HWY_EXPORT(silu_times_rows);
HWY_EXPORT(add_rows);
HWY_EXPORT(rotate_rows);
HWY_EXPORT(round_rows);
HWY_EXPORT(widen_rows);

void rms_norm(const float* x, const float* weight, std::size_t count, float eps, float* out) {
  VELOX_DISPATCH(rms_norm_rows)(x, weight, count, eps, out);
}

void silu_times(float* gate, const float* up, std::size_t count) {
  VELOX_DISPATCH(silu_times_rows)(gate, up, count);
}

void add_to(float* x, const float* y, std::size_t count) { VELOX_DISPATCH(add_rows)(x, y, count); }

void rotate_half_split(float* head, const float* cosines, const float* sines, std::size_t pairs) {
  VELOX_DISPATCH(rotate_rows)(head, cosines, sines, pairs);
}

void round_to_bf16(const float* x, std::size_t count, bf16* out) {
  VELOX_DISPATCH(round_rows)(x, count, out);
}

void widen_bf16(const bf16* x, std::size_t count, float* out) { VELOX_DISPATCH(widen_rows)(x, count, out); }

}  // namespace veloxquant
#endif  // HWY_ONCE
