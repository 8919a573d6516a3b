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

// Whether the bits of all floats without the sign, which orders them as numbers, are below `limit`: `runs` runs of
// `count` floats, which begin `stride` floats apart. Integers do not trap on signalling NaN.
bool all_below(std::int32_t limit, const float* x, std::int64_t runs, std::int64_t stride,
               std::int64_t count) {
  const hn::CappedTag<std::int32_t, 16> d;
  const auto magnitude = hn::Set(d, 0x7fffffff);
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto largest = hn::Zero(d), other = largest;
  std::int32_t rest = 0;
  for (std::int64_t run = 0; run < runs; ++run, x += stride) {
    const auto* bits = reinterpret_cast<const std::int32_t*>(x);
    std::int64_t i = 0;
    for (; i + 2 * lanes <= count; i += 2 * lanes) {
      largest = hn::Max(largest, hn::And(hn::LoadU(d, bits + i), magnitude));
      other = hn::Max(other, hn::And(hn::LoadU(d, bits + i + lanes), magnitude));
    }
    for (; i < count; ++i) rest = HWY_MAX(rest, std::bit_cast<std::int32_t>(x[i]) & 0x7fffffff);
  }
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
  if (VELOX_DISPATCH(all_below)(limit, x, 1, count, count)) return count;
  std::int64_t at = 0;
  while ((std::bit_cast<std::int32_t>(x[at]) & 0x7fffffff) < limit) ++at;
  return at;
}

std::string place(std::int64_t at, const Shape& shape) {
  const std::int64_t d = shape[3], t = shape[2], h = shape[1];
  return fmt::format("[{}, {}, {}, {}] (batch, head, token, coordinate)", at / (h * t * d), at / (t * d) % h,
                     at / d % t, at % d);
}

void require_vectors(const Tensor& x, int head_dim, const char* operation) {
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
}

[[noreturn]] void throw_not_finite(float value, std::int64_t at, const Shape& shape, const char* operation) {
  throw NumericError(operation,
                     fmt::format("{} at {}; only finite values can be coded", value, place(at, shape)));
}

}  // namespace

Tensor checked_vectors(const Tensor& x, int head_dim, const char* operation) {
  require_vectors(x, head_dim, operation);
  const Tensor rows = x.contiguous().to(DType::f32);
  const float* values = rows.data<float>();
  const std::int64_t at = first_reaching(kInfinity, values, rows.numel());
  if (at < rows.numel()) throw_not_finite(values[at], at, x.shape(), operation);
  return rows;
}

CheckedVectors::CheckedVectors(const Tensor& x, int head_dim, const char* operation) : dim_(head_dim) {
  require_vectors(x, head_dim, operation);
  const std::int64_t count = x.dim(2);
  const bool as_is =
      x.dtype() == DType::f32 && x.strides()[3] == 1 && (count == 1 || x.strides()[2] == head_dim);
  if (!as_is) copied_ = x.contiguous().to(DType::f32);
  const Tensor& rows = as_is ? x : copied_;
  data_ = rows.data<float>();
  row_stride_ = rows.strides()[0];
  head_stride_ = rows.strides()[1];
  const std::int64_t heads = x.dim(1), run = count * dim_;
  for (std::int64_t b = 0; b < x.dim(0); ++b) {
    if (VELOX_DISPATCH(all_below)(kInfinity, at(b, 0, 0), heads, head_stride_, run)) continue;
    std::int64_t h = 0, in_run = 0;
    while ((in_run = first_reaching(kInfinity, at(b, h, 0), run)) == run) ++h;
    throw_not_finite(at(b, h, 0)[in_run], (b * heads + h) * run + in_run, x.shape(), operation);
  }
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
