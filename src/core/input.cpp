#include "core/input.hpp"

#include <fmt/format.h>

#include <bit>
#include <veloxquant/core/error.hpp>

namespace veloxquant {
namespace {

constexpr std::uint32_t kMagnitude = 0x7fffffffu;
constexpr std::uint32_t kInfinity = 0x7f800000u;  // and NaN beyond it

// The first of `count` floats whose bits without the sign reach `limit`, or `count`. Bits are compared as
// integers, so that the loop vectorizes and does not trap on signalling NaN.
std::int64_t first_reaching(std::uint32_t limit, const float* x, std::int64_t count) {
  std::uint32_t bad = 0;
  for (std::int64_t i = 0; i < count; ++i)
    bad |= static_cast<std::uint32_t>((std::bit_cast<std::uint32_t>(x[i]) & kMagnitude) >= limit);
  if (bad == 0) return count;
  std::int64_t at = 0;
  while ((std::bit_cast<std::uint32_t>(x[at]) & kMagnitude) < limit) ++at;
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
  const std::uint32_t limit = dtype == DType::f16    ? 0x477ff000u
                              : dtype == DType::bf16 ? 0x7f7f8000u
                                                     : kInfinity;
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
