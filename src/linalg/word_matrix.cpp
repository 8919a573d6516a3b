#include "linalg/word_matrix.hpp"

#include <algorithm>
#include <cmath>

#include "core/dispatch.hpp"
#include "linalg/matrix_vector.hpp"

// Sums are arrays of vectors, which scalable ones do not allow.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "linalg/word_matrix.cpp"
#define HWY_WANT_AVX3_DL
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef VELOXQUANT_WORD_MATRIX_ONCE
#define VELOXQUANT_WORD_MATRIX_ONCE
namespace veloxquant {

struct WordColumns {
  const std::int16_t* words;  // [panel of kMatrixPad columns][pair][column][2]
  const float* steps;
  int pairs, columns;  // columns in whole vectors
};

}  // namespace veloxquant
#endif

HWY_BEFORE_NAMESPACE();
namespace veloxquant::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Sums = hn::CappedTag<std::int32_t, kMatrixPad>;
using Words = hn::RepartitionToNarrow<Sums>;

// sum + the products of two neighbours.
HWY_INLINE hn::Vec<Sums> add_products(hn::Vec<Words> a, hn::Vec<Words> b, hn::Vec<Sums> sum) {
  const Sums d;
  auto odd = hn::Zero(d);
  const auto even = hn::ReorderWidenMulAccumulate(d, a, b, hn::Zero(d), odd);
  return hn::Add(sum, hn::RearrangeToOddPlusEven(even, odd));
}

// Columns [first, first + V vectors) for R rows.
template <int R, int V>
HWY_INLINE void multiply_block(const WordColumns& matrix, const std::int32_t* HWY_RESTRICT x,
                               const float* HWY_RESTRICT steps, int first, float* HWY_RESTRICT y) {
  const Sums d;
  const Words dw;
  const hn::RebindToFloat<Sums> df;
  const int lanes = static_cast<int>(hn::Lanes(d));
  hn::Vec<Sums> sums[R][V];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) sums[r][v] = hn::Zero(d);
  }
  const std::int16_t* column[V];
  for (int v = 0; v < V; ++v) {
    const int at = first + v * lanes, panel = at / kMatrixPad;
    column[v] = matrix.words + 2 * (panel * matrix.pairs * kMatrixPad + at % kMatrixPad);
  }
  for (int p = 0; p < matrix.pairs; ++p) {
    hn::Vec<Words> loaded[V];
    for (int v = 0; v < V; ++v) loaded[v] = hn::LoadU(dw, column[v] + 2 * p * kMatrixPad);
    for (int r = 0; r < R; ++r) {
      const auto pair = hn::BitCast(dw, hn::Set(d, x[r * matrix.pairs + p]));
      for (int v = 0; v < V; ++v) sums[r][v] = add_products(loaded[v], pair, sums[r][v]);
    }
  }
  for (int r = 0; r < R; ++r) {
    const auto step = hn::Set(df, steps[r]);
    for (int v = 0; v < V; ++v) {
      const int at = first + v * lanes;
      const auto scale = hn::Mul(step, hn::LoadU(df, matrix.steps + at));
      hn::StoreU(hn::Mul(hn::ConvertTo(df, sums[r][v]), scale), df, y + r * matrix.columns + at);
    }
  }
}

// Few vectors of columns for all rows, so that they stay in the first cache: wider blocks load less and are
// slower.
template <int V>
HWY_INLINE void multiply_columns(const WordColumns& matrix, const std::int32_t* x, const float* steps,
                                 int count, int first, float* y) {
  int v = 0;
  for (; v + 4 <= count; v += 4, x += 4 * matrix.pairs, y += 4 * matrix.columns)
    multiply_block<4, V>(matrix, x, steps + v, first, y);
  for (; v < count; ++v, x += matrix.pairs, y += matrix.columns)
    multiply_block<1, V>(matrix, x, steps + v, first, y);
}

void multiply_words(const WordColumns& matrix, const std::int32_t* x, const float* steps, int count,
                    float* y) {
  const int lanes = static_cast<int>(hn::Lanes(Sums()));
  int at = 0;
  const auto step = [&]<int V>() HWY_ATTR {
    for (; at + V * lanes <= matrix.columns; at += V * lanes)
      multiply_columns<V>(matrix, x, steps, count, at, y);
  };
  step.template operator()<2>();
  step.template operator()<1>();
}

// A row as words, two neighbours in 32 bits; returns their step.
float round_words(const float* x, int dims, std::int32_t* words) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const int lanes = static_cast<int>(hn::Lanes(d)), whole = dims - dims % (2 * lanes);
  auto squares = hn::Zero(d);
  int i = 0;
  for (; i < whole; i += lanes) {
    const auto some = hn::LoadU(d, x + i);
    squares = hn::MulAdd(some, some, squares);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, squares));
  for (; i < dims; ++i) sum += x[i] * x[i];
  const float norm = std::sqrt(sum), scale = norm > 1e-30f ? kWordNorm / norm : 0.0f;
  const auto by = hn::Set(d, scale);
  for (i = 0; i < whole; i += 2 * lanes) {
    const auto first = hn::LoadU(d, x + i), second = hn::LoadU(d, x + i + lanes);
    const auto even = hn::NearestInt(hn::Mul(hn::ConcatEven(d, second, first), by));
    const auto odd = hn::NearestInt(hn::Mul(hn::ConcatOdd(d, second, first), by));
    hn::StoreU(hn::Or(hn::And(even, hn::Set(di, 0xffff)), hn::ShiftLeft<16>(odd)), di, words + i / 2);
  }
  for (; i < dims; i += 2) {
    const auto even = static_cast<std::int32_t>(std::nearbyint(scale * x[i]));
    const auto odd = static_cast<std::int32_t>(i + 1 < dims ? std::nearbyint(scale * x[i + 1]) : 0.0f);
    words[i / 2] = static_cast<std::int32_t>((static_cast<std::uint32_t>(odd) << 16) |
                                             (static_cast<std::uint32_t>(even) & 0xffff));
  }
  return norm / kWordNorm;
}

}  // namespace veloxquant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(multiply_words);
HWY_EXPORT(round_words);

namespace {

// Twice the norm of x's: 2^31 > (kWordNorm + 16) (kColumnNorm + 16), the sixteens for rounding up to 1,024
// entries.
constexpr float kColumnNorm = 65000.0f;

std::size_t as_size(int n) { return static_cast<std::size_t>(n); }

float column_step(const float* column, int rows, std::size_t stride) {
  double squares = 0;
  float largest = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(rows); ++i) {
    const float entry = column[i * stride];
    squares += static_cast<double>(entry) * static_cast<double>(entry);
    largest = std::max(largest, std::abs(entry));
  }
  return std::max(static_cast<float>(std::sqrt(squares)) / kColumnNorm, largest / 32767.0f);
}

}  // namespace

WordMatrix::WordMatrix(const float* matrix, int rows, int columns)
    : pairs_(rows / 2),
      words_(as_size(rows) * as_size(padded_columns(columns))),
      steps_(static_cast<std::size_t>(padded_columns(columns))) {
  const std::size_t width = steps_.size();
  for (std::size_t j = 0; j < static_cast<std::size_t>(columns); ++j) {
    const float step = column_step(matrix + j, rows, width);
    steps_[j] = step;
    for (std::size_t i = 0; i < static_cast<std::size_t>(rows) && step > 0; ++i)
      words_[((j / kMatrixPad * as_size(pairs_) + i / 2) * kMatrixPad + j % kMatrixPad) * 2 + i % 2] =
          static_cast<std::int16_t>(std::nearbyint(matrix[i * width + j] / step));
  }
}

void WordMatrix::round_rows(const float* x, int dims, int count, std::int32_t* words, float* steps) const {
  auto* const round = VELOX_DISPATCH(round_words);
  for (int v = 0; v < count; ++v, x += dims, words += pairs_) steps[v] = round(x, dims, words);
}

void WordMatrix::multiply(const std::int32_t* x, const float* steps, int count, float* y) const {
  const WordColumns columns{words_.data(), steps_.data(), pairs_, static_cast<int>(steps_.size())};
  VELOX_DISPATCH(multiply_words)(columns, x, steps, count, y);
}

}  // namespace veloxquant
#endif
