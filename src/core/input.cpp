#include "core/input.hpp"

#include <fmt/format.h>

#include <bit>
#include <veloxquant/core/error.hpp>

namespace veloxquant {
namespace {

constexpr std::uint32_t kExponent = 0x7f800000u;

bool is_finite(float x) { return (std::bit_cast<std::uint32_t>(x) & kExponent) != kExponent; }

// True when all of `count` floats are finite. The exponent of each is compared as an integer, so the loop
// vectorizes and does not trap on signalling NaN.
bool all_finite(const float* x, std::int64_t count) {
  std::uint32_t bad = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    bad |= static_cast<std::uint32_t>((std::bit_cast<std::uint32_t>(x[i]) & kExponent) == kExponent);
  }
  return bad == 0;
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
  const std::int64_t count = rows.numel();
  if (!all_finite(values, count)) {
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
