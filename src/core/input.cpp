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

// Whether the bits of all `count` floats without the sign, which orders them as numbers, are below `limit`.
// Integers do not trap on signalling NaN.
bool all_below(std::int32_t limit, const float* x, std::int64_t count) {
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
  return hn::AllTrue(d, hn::Lt(all, hn::Set(d, limit)));
}

}  // namespace veloxquant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(all_below);

namespace {

constexpr std::int32_t kInfinity = 0x7f800000;  // and NaN beyond it

// The first of `count` floats whose bits without the sign reach `limit`, or `count`.
std::int64_t first_reaching(std::int32_t limit, const float* x, std::int64_t count) {
  if (VELOX_DISPATCH(all_below)(limit, x, count)) return count;
  std::int64_t at = 0;
  while ((std::bit_cast<std::int32_t>(x[at]) & 0x7fffffff) < limit) ++at;
  return at;
}

std::string place(std::int64_t at, const Shape& shape) {
  const std::int64_t d = shape[3], t = shape[2], h = shape[1];
  return fmt::format("[{}, {}, {}, {}] (batch, head, token, coordinate)", at / (h * t * d), at / (t * d) % h,
                     at / d % t, at % d);
}

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
  const std::int64_t at = first_reaching(kInfinity, values, rows.numel());
  if (at < rows.numel()) {
    throw NumericError(operation, fmt::format("{} at {}; only finite values can be coded", values[at],
                                              place(at, x.shape())));
  }
  return rows;
}

Tensor narrowed_vectors(const Tensor& x, DType dtype, const char* operation) {
  // What rounds to infinity, halfway beyond the largest finite value.
  const std::int32_t limit = dtype == DType::f16 ? 0x477ff000 : dtype == DType::bf16 ? 0x7f7f8000 : kInfinity;
  const float* values = x.data<const float>();
  const std::int64_t at = first_reaching(limit, values, x.numel());
  if (at < x.numel()) {
    throw NumericError(operation,
                       fmt::format("a decoded {} at {} is beyond {}, the element type that came in; f32 "
                                   "vectors are given back as f32",
                                   values[at], place(at, x.shape()), to_string(dtype)));
  }
  return x.to(dtype);
}

}  // namespace veloxquant
#endif
