#include "linalg/matrix_vector.hpp"

#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "linalg/matrix_vector.cpp"
#define HWY_WANT_AVX3_DL
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace veloxquant::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Vectors run over j, so that each y[j] sees the same sequence of operations at any width. Eight sums are
// kept in registers at a time; multiply and add stay apart, since not every level can fuse them.
void combine_rows(const float* HWY_RESTRICT matrix, int rows, int columns, int stride,
                  const float* HWY_RESTRICT x, float* HWY_RESTRICT y) {
  const hn::CappedTag<float, kMatrixPad> d;
  const int lanes = static_cast<int>(hn::Lanes(d)), tile = 8 * lanes;
  HWY_ALIGN float sums[8 * kMatrixPad];
  for (int begin = 0; begin < columns; begin += tile) {
    const int vectors = HWY_MIN(8, (stride - begin) / lanes);
    const float* column = matrix + begin;
    if (vectors == 8) {
      auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
      for (int i = 0; i < rows; ++i, column += stride) {
        const auto xi = hn::Set(d, x[i]);
        s0 = hn::Add(s0, hn::Mul(hn::LoadU(d, column), xi));
        s1 = hn::Add(s1, hn::Mul(hn::LoadU(d, column + lanes), xi));
        s2 = hn::Add(s2, hn::Mul(hn::LoadU(d, column + 2 * lanes), xi));
        s3 = hn::Add(s3, hn::Mul(hn::LoadU(d, column + 3 * lanes), xi));
        s4 = hn::Add(s4, hn::Mul(hn::LoadU(d, column + 4 * lanes), xi));
        s5 = hn::Add(s5, hn::Mul(hn::LoadU(d, column + 5 * lanes), xi));
        s6 = hn::Add(s6, hn::Mul(hn::LoadU(d, column + 6 * lanes), xi));
        s7 = hn::Add(s7, hn::Mul(hn::LoadU(d, column + 7 * lanes), xi));
      }
      hn::Store(s0, d, sums), hn::Store(s1, d, sums + lanes);
      hn::Store(s2, d, sums + 2 * lanes), hn::Store(s3, d, sums + 3 * lanes);
      hn::Store(s4, d, sums + 4 * lanes), hn::Store(s5, d, sums + 5 * lanes);
      hn::Store(s6, d, sums + 6 * lanes), hn::Store(s7, d, sums + 7 * lanes);
    } else {
      for (int v = 0; v < vectors; ++v) {
        auto sum = hn::Zero(d);
        for (int i = 0; i < rows; ++i)
          sum = hn::Add(sum, hn::Mul(hn::LoadU(d, column + i * stride + v * lanes), hn::Set(d, x[i])));
        hn::Store(sum, d, sums + v * lanes);
      }
    }
    const int here = HWY_MIN(columns - begin, vectors * lanes);
    std::memcpy(y + begin, sums, sizeof(float) * static_cast<std::size_t>(here));
  }
}

}  // namespace veloxquant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(combine_rows);

void combine_rows(const float* matrix, int rows, int columns, int stride, const float* x, float* y) {
  HWY_DYNAMIC_DISPATCH(combine_rows)(matrix, rows, columns, stride, x, y);
}

}  // namespace veloxquant
#endif
