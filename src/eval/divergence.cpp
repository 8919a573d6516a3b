#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/divergence.hpp>

#include "core/dispatch.hpp"

#define HWY_WANT_AVX3_DL
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "eval/divergence.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using FloatVector = hn::Vec<Floats>;

// Stands in for values beyond the end of a row: its exponential is 0, and unlike infinity it can be
// subtracted.
constexpr float kAbsent = -1e30f;

// Values [i, i + lanes) of a row, filled up beyond its end.
HWY_INLINE FloatVector load(const float* row, std::size_t i, std::size_t count) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  if (i + lanes <= count) return hn::LoadU(d, row + i);
  HWY_ALIGN float padded[hn::MaxLanes(d)];
  hn::Store(hn::Set(d, kAbsent), d, padded);
  std::memcpy(padded, row + i, (count - i) * sizeof(float));
  return hn::Load(d, padded);
}

// Sum of term(i) over the vectors of a row: floats within a block, doubles across blocks.
template <class Term>
HWY_INLINE double sum_row(std::size_t count, const Term& term) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d), block = 64 * lanes;
  double total = 0;
  for (std::size_t begin = 0; begin < count; begin += block) {
    const std::size_t end = std::min(begin + block, count);
    auto sum = hn::Zero(d);
    for (std::size_t i = begin; i < end; i += lanes) sum = hn::Add(sum, term(i));
    total += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, sum)));
  }
  return total;
}

float row_max(const float* row, std::size_t count) {
  const Floats d;
  auto max = load(row, 0, count);
  for (std::size_t i = hn::Lanes(d); i < count; i += hn::Lanes(d)) max = hn::Max(max, load(row, i, count));
  return hn::GetLane(hn::MaxOfLanes(d, max));
}

// A NaN equals nothing: a row with one may give its last index.
std::size_t find_max(const float* row, std::size_t count) {
  const float* found = std::find(row, row + count - 1, row_max(row, count));
  return static_cast<std::size_t>(found - row);
}

// ln of the sum of exponentials; NaN when a value is not finite (Exp alone makes a NaN 0).
double log_sum_exp(const float* row, std::size_t count, float max) {
  const Floats d;
  const auto shift = hn::Set(d, max);
  return static_cast<double>(max) + std::log(sum_row(count, [&](std::size_t i) HWY_ATTR {
           const auto x = load(row, i, count);
           return hn::MulAdd(x, hn::Zero(d), hn::Exp(d, hn::Sub(x, shift)));
         }));
}

// p (exp(d) - 1 - d) with d = ln q - ln p, by the series of the bracket where the difference would cancel.
HWY_INLINE FloatVector divergence_term(FloatVector log_p, FloatVector log_q) {
  const Floats d;
  const auto x = hn::Sub(log_q, log_p), p = hn::Exp(d, log_p), q = hn::Exp(d, log_q);
  auto series = hn::Set(d, 1.0f / 720);
  series = hn::MulAdd(series, x, hn::Set(d, 1.0f / 120));
  series = hn::MulAdd(series, x, hn::Set(d, 1.0f / 24));
  series = hn::MulAdd(series, x, hn::Set(d, 1.0f / 6));
  series = hn::MulAdd(series, x, hn::Set(d, 0.5f));
  const auto direct = hn::NegMulAdd(p, x, hn::Sub(q, p));
  return hn::IfThenElse(hn::Lt(hn::Abs(x), hn::Set(d, 0.25f)), hn::Mul(p, hn::Mul(hn::Mul(x, x), series)),
                        direct);
}

RowDivergence compare_row(const float* reference, const float* logits, std::size_t vocab,
                          std::uint32_t target) {
  const Floats d;
  const std::size_t top = find_max(reference, vocab), measured_top = find_max(logits, vocab);
  RowDivergence result;
  result.same_top = top == measured_top;
  const float max = reference[top], measured_max = logits[measured_top];
  const double lse = log_sum_exp(reference, vocab, max),
               measured_lse = log_sum_exp(logits, vocab, measured_max);
  result.reference_nll = lse - static_cast<double>(reference[target]);
  result.nll = measured_lse - static_cast<double>(logits[target]);
  // Each row is first moved by a float near its own size, so that the differences keep their digits.
  const auto p_shift = hn::Set(d, max), q_shift = hn::Set(d, measured_max);
  const auto p_rest = hn::Set(d, static_cast<float>(lse - static_cast<double>(max)));
  const auto q_rest = hn::Set(d, static_cast<float>(measured_lse - static_cast<double>(measured_max)));
  result.kl = sum_row(vocab, [&](std::size_t i) HWY_ATTR {
    const auto log_p = hn::Sub(hn::Sub(load(reference, i, vocab), p_shift), p_rest);
    const auto log_q = hn::Sub(hn::Sub(load(logits, i, vocab), q_shift), q_rest);
    return divergence_term(log_p, log_q);
  });
  return result;
}

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(compare_row);
HWY_EXPORT(find_max);

void compare_rows(const float* reference, const float* logits, std::size_t rows, std::size_t vocab,
                  const std::uint32_t* targets, ThreadPool& pool, RowDivergence* out) {
  pool.parallel_for(rows, [&](std::size_t row, int) {
    out[row] =
        VELOX_DISPATCH(compare_row)(reference + row * vocab, logits + row * vocab, vocab, targets[row]);
    if (!std::isfinite(out[row].kl) || !std::isfinite(out[row].nll)) {
      throw NumericError(
          "compare",
          fmt::format("the logits of row {} are not finite; the cache or the model overflowed", row));
    }
  });
}

std::size_t argmax(const float* values, std::size_t count) { return VELOX_DISPATCH(find_max)(values, count); }

}  // namespace veloxquant
#endif
