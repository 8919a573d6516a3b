#include "linalg/matrix_vector.hpp"

#include "core/dispatch.hpp"

// Sums are arrays of vectors, which scalable ones do not allow.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "linalg/matrix_vector.cpp"
#define HWY_WANT_AVX3_DL
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace veloxquant::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The sums of V vectors of columns for R rows of x, kept in registers: what is loaded of the matrix serves all rows.
// Vectors run over the columns, so that every sum sees the same sequence of operations at any width; multiply and add
// stay apart, since not every level can fuse them. `left` columns are still to be written.
template <int R, int V>
HWY_INLINE void sum_columns(const float* HWY_RESTRICT x, const float* HWY_RESTRICT column, int rows,
                            int stride, int columns, int left, float* HWY_RESTRICT y) {
  const hn::CappedTag<float, kMatrixPad> d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  hn::Vec<decltype(d)> sums[R][V];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) sums[r][v] = hn::Zero(d);
  }
  for (int i = 0; i < rows; ++i, column += stride) {
    hn::Vec<decltype(d)> loaded[V];
    for (int v = 0; v < V; ++v) loaded[v] = hn::LoadU(d, column + v * lanes);
    for (int r = 0; r < R; ++r) {
      const auto factor = hn::Set(d, x[r * rows + i]);
      for (int v = 0; v < V; ++v) sums[r][v] = hn::Add(sums[r][v], hn::Mul(loaded[v], factor));
    }
  }
  for (int r = 0; r < R; ++r, y += columns) {
    for (int v = 0; v < V; ++v) {
      const int here = left - v * lanes;
      if (here >= lanes) {
        hn::StoreU(sums[r][v], d, y + v * lanes);
      } else if (here > 0) {
        hn::BlendedStore(sums[r][v], hn::FirstN(d, static_cast<size_t>(here)), d, y + v * lanes);
      }
    }
  }
}

template <int R>
HWY_INLINE void multiply_group(const float* x, const float* matrix, int rows, int columns, float* y) {
  constexpr int kWidest = R == 1 ? 8 : 4;
  const int lanes = static_cast<int>(hn::Lanes(hn::CappedTag<float, kMatrixPad>()));
  const int stride = padded_columns(columns);
  int at = 0;
  const auto step = [&]<int V>() HWY_ATTR {
    for (; at + (V - 1) * lanes < columns; at += V * lanes)
      sum_columns<R, V>(x, matrix + at, rows, stride, columns, columns - at, y + at);
  };
  step.template operator()<kWidest>();
  if constexpr (kWidest > 4) step.template operator()<4>();
  step.template operator()<2>();
  step.template operator()<1>();
}

void multiply_rows(const float* x, int count, const float* matrix, int rows, int columns, float* y) {
  int v = 0;
  for (; v + 4 <= count; v += 4, x += 4 * rows, y += 4 * columns)
    multiply_group<4>(x, matrix, rows, columns, y);
  for (; v < count; ++v, x += rows, y += columns) multiply_group<1>(x, matrix, rows, columns, y);
}

}  // namespace veloxquant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(multiply_rows);

void multiply_rows(const float* x, int count, const float* matrix, int rows, int columns, float* y) {
  VELOX_DISPATCH(multiply_rows)(x, count, matrix, rows, columns, y);
}

}  // namespace veloxquant
#endif
