#include "linalg/matrix_vector.hpp"

#include "core/dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "linalg/matrix_vector.cpp"
#define HWY_WANT_AVX3_DL
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace veloxquant::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The sums of V (1, 2, 4 or 8) vectors of columns for one x, kept in registers. Vectors run over the columns,
// so that every sum sees the same sequence of operations at any width; multiply and add stay apart, since not
// every level can fuse them.
template <int V>
HWY_INLINE void sum_columns(const float* HWY_RESTRICT x, const float* HWY_RESTRICT column, int rows,
                            int stride, float* HWY_RESTRICT y) {
  const hn::CappedTag<float, kMatrixPad> d;
  const size_t n = hn::Lanes(d);
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
  for (int i = 0; i < rows; ++i, column += stride) {
    const auto xi = hn::Set(d, x[i]);
    s0 = hn::Add(s0, hn::Mul(hn::LoadU(d, column), xi));
    if constexpr (V >= 2) s1 = hn::Add(s1, hn::Mul(hn::LoadU(d, column + n), xi));
    if constexpr (V >= 4) {
      s2 = hn::Add(s2, hn::Mul(hn::LoadU(d, column + 2 * n), xi));
      s3 = hn::Add(s3, hn::Mul(hn::LoadU(d, column + 3 * n), xi));
    }
    if constexpr (V >= 8) {
      s4 = hn::Add(s4, hn::Mul(hn::LoadU(d, column + 4 * n), xi));
      s5 = hn::Add(s5, hn::Mul(hn::LoadU(d, column + 5 * n), xi));
      s6 = hn::Add(s6, hn::Mul(hn::LoadU(d, column + 6 * n), xi));
      s7 = hn::Add(s7, hn::Mul(hn::LoadU(d, column + 7 * n), xi));
    }
  }
  hn::StoreU(s0, d, y);
  if constexpr (V >= 2) hn::StoreU(s1, d, y + n);
  if constexpr (V >= 4) hn::StoreU(s2, d, y + 2 * n), hn::StoreU(s3, d, y + 3 * n);
  if constexpr (V >= 8) {
    hn::StoreU(s4, d, y + 4 * n), hn::StoreU(s5, d, y + 5 * n);
    hn::StoreU(s6, d, y + 6 * n), hn::StoreU(s7, d, y + 7 * n);
  }
}

void multiply_rows(const float* x, int count, const float* matrix, int rows, int columns, float* y) {
  const int lanes = static_cast<int>(hn::Lanes(hn::CappedTag<float, kMatrixPad>()));
  const int stride = padded_columns(columns), vectors = (columns + lanes - 1) / lanes;
  // Rows in order: what a partial last vector writes behind row v is overwritten by row v + 1.
  for (int v = 0; v < count; ++v, x += rows, y += columns) {
    int at = 0;
    for (; at + 8 <= vectors; at += 8) sum_columns<8>(x, matrix + at * lanes, rows, stride, y + at * lanes);
    if (vectors & 4) sum_columns<4>(x, matrix + at * lanes, rows, stride, y + at * lanes), at += 4;
    if (vectors & 2) sum_columns<2>(x, matrix + at * lanes, rows, stride, y + at * lanes), at += 2;
    if (vectors & 1) sum_columns<1>(x, matrix + at * lanes, rows, stride, y + at * lanes);
  }
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
