#include "core/input.hpp"

#include <fmt/format.h>

#include <bit>
#include <veloxquant/core/error.hpp>

#include "core/dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/input.cpp"
#define HWY_WANT_AVX3_DL
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace veloxquant::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// True when all of `count` floats are finite: the largest of their bits without the sign, which orders them as
// numbers, does not reach infinity. Integers do not trap on signalling NaN.
bool all_finite(const float* x, std::int64_t count) {
  const hn::CappedTag<std::int32_t, 16> d;
  const auto* bits = reinterpret_cast<const std::int32_t*>(x);
  const auto magnitude = hn::Set(d, 0x7fffffff);
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto largest = hn::Zero(d), other = largest;
  std::int64_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    largest = hn::Max(largest, hn::And(hn::LoadU(d, bits + i), magnitude));
    other = hn::Max(other, hn::And(hn::LoadU(d, bits + i + lanes), magnitude));
  }
  std::int32_t rest = 0;
  for (; i < count; ++i) rest = HWY_MAX(rest, std::bit_cast<std::int32_t>(x[i]) & 0x7fffffff);
  const auto all = hn::Max(hn::Max(largest, other), hn::Set(d, rest));
  return hn::AllTrue(d, hn::Lt(all, hn::Set(d, 0x7f800000)));
}

}  // namespace veloxquant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(all_finite);

namespace {

bool is_finite(float x) { return (std::bit_cast<std::uint32_t>(x) & 0x7f800000u) != 0x7f800000u; }

}  // namespace

Tensor checked_vectors(const Tensor& x, int head_dim, const char* operation) {
  if (!x.defined()) throw ShapeError(operation, "undefined tensor; give [batch, heads, seq, head_dim]");
  if (x.rank() != 4) {
    throw ShapeError(operation,
                     fmt::format("shape {} has rank {}, needs rank 4: [batch, heads, seq, head_dim]",
                                 to_string(x.shape()), x.rank()));
  }
  if (x.dim(3) != head_dim) {
    throw ShapeError(operation, fmt::format("head_dim {} of shape {}, needs {}", x.dim(3),
                                            to_string(x.shape()), head_dim));
  }
  if (x.dtype() != DType::f32 && x.dtype() != DType::f16 && x.dtype() != DType::bf16) {
    throw DTypeError(operation, fmt::format("element type {}, needs f32, f16 or bf16", to_string(x.dtype())));
  }
  const Tensor rows = x.contiguous().to(DType::f32);
  const float* values = rows.data<float>();
  const std::int64_t count = rows.numel();
  if (!VELOX_DISPATCH(all_finite)(values, count)) {
    std::int64_t at = 0;
    while (is_finite(values[at])) ++at;
    const std::int64_t d = x.dim(3), t = x.dim(2), h = x.dim(1);
    throw NumericError(operation,
                       fmt::format("{} at [{}, {}, {}, {}] (batch, head, token, coordinate); only finite "
                                   "values can be coded",
                                   values[at], at / (h * t * d), at / (t * d) % h, at / d % t, at % d));
  }
  return rows;
}

}  // namespace veloxquant
#endif
