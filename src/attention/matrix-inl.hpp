// Products and transposition of the small matrices of prefill, whose vectors run along the query rows.
#if defined(VELOXQUANT_ATTENTION_MATRIX_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef VELOXQUANT_ATTENTION_MATRIX_INL
#undef VELOXQUANT_ATTENTION_MATRIX_INL
#else
#define VELOXQUANT_ATTENTION_MATRIX_INL
#endif

#include "attention/vector_math-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {

// c[m][n] = or += sum_k a(m, k) * b[k][n] for M rows and Vectors vectors of columns. Element (m, k) of a is
// a[m * lda + k], or a[k * lda + m] when Transposed.
template <int M, int Vectors, bool Transposed, bool Add>
HWY_INLINE void multiply_block(const float* a, std::size_t lda, const float* b, std::size_t ldb, int depth,
                               float* c) {
  const Floats d;
  FloatVector sums[M * Vectors];
  for (int i = 0; i < M * Vectors; ++i) sums[i] = hn::Zero(d);
  for (int k = 0; k < depth; ++k, b += ldb, a += Transposed ? lda : 1) {
    FloatVector row[Vectors];
    for (int j = 0; j < Vectors; ++j) row[j] = hn::Load(d, b + j * kLanes);
    for (int m = 0; m < M; ++m) {
      const auto factor =
          hn::Set(d, a[Transposed ? static_cast<std::size_t>(m) : static_cast<std::size_t>(m) * lda]);
      for (int j = 0; j < Vectors; ++j)
        sums[m * Vectors + j] = hn::MulAdd(factor, row[j], sums[m * Vectors + j]);
    }
  }
  for (int m = 0; m < M; ++m) {
    for (int j = 0; j < Vectors; ++j) {
      float* to = c + static_cast<std::size_t>(m) * ldb + static_cast<std::size_t>(j * kLanes);
      hn::Store(Add ? hn::Add(hn::Load(d, to), sums[m * Vectors + j]) : sums[m * Vectors + j], d, to);
    }
  }
}

// All M rows (an even number) of c, for Vectors vectors of columns.
template <int Vectors, bool Transposed, bool Add>
HWY_INLINE void multiply_columns(const float* a, std::size_t lda, const float* b, std::size_t ldb, int rows,
                                 int depth, float* c) {
  const std::size_t step = Transposed ? 1 : lda;
  int m = 0;
  for (; m + 6 <= rows; m += 6, a += 6 * step, c += 6 * ldb) {
    multiply_block<6, Vectors, Transposed, Add>(a, lda, b, ldb, depth, c);
  }
  for (; m < rows; m += 2, a += 2 * step, c += 2 * ldb) {
    multiply_block<2, Vectors, Transposed, Add>(a, lda, b, ldb, depth, c);
  }
}

// c [rows, width] = or += a * b; width in whole vectors, rows even.
template <bool Transposed, bool Add>
HWY_INLINE void multiply(const float* a, std::size_t lda, const float* b, std::size_t width, int rows,
                         int depth, float* c) {
  constexpr std::size_t kWide = kManyRegisters ? 4 : 2;
  std::size_t n = 0;
  for (; n + kWide * kLanes <= width; n += kWide * kLanes) {
    multiply_columns<kWide, Transposed, Add>(a, lda, b + n, width, rows, depth, c + n);
  }
  if (kWide > 2 && n + 2 * kLanes <= width) {
    multiply_columns<2, Transposed, Add>(a, lda, b + n, width, rows, depth, c + n);
    n += 2 * kLanes;
  }
  if (n < width) multiply_columns<1, Transposed, Add>(a, lda, b + n, width, rows, depth, c + n);
}

// to[c][r] = from[r][c], in squares of four.
HWY_INLINE void transpose(const float* from, std::size_t from_stride, int rows, int columns, float* to,
                          std::size_t to_stride) {
  const hn::Full128<float> d;
  const hn::RepartitionToWide<decltype(d)> dw;
  const auto pairs_low = [&](auto a, auto b) HWY_ATTR {
    return hn::BitCast(d, hn::InterleaveLower(dw, hn::BitCast(dw, a), hn::BitCast(dw, b)));
  };
  const auto pairs_high = [&](auto a, auto b) HWY_ATTR {
    return hn::BitCast(d, hn::InterleaveUpper(dw, hn::BitCast(dw, a), hn::BitCast(dw, b)));
  };
  int r = 0;
  for (; r + 4 <= rows; r += 4) {
    const float* row = from + static_cast<std::size_t>(r) * from_stride;
    float* column = to + r;
    int c = 0;
    for (; c + 4 <= columns; c += 4, row += 4, column += 4 * to_stride) {
      const auto r0 = hn::LoadU(d, row), r1 = hn::LoadU(d, row + from_stride);
      const auto r2 = hn::LoadU(d, row + 2 * from_stride), r3 = hn::LoadU(d, row + 3 * from_stride);
      const auto low01 = hn::InterleaveLower(d, r0, r1), high01 = hn::InterleaveUpper(d, r0, r1);
      const auto low23 = hn::InterleaveLower(d, r2, r3), high23 = hn::InterleaveUpper(d, r2, r3);
      hn::StoreU(pairs_low(low01, low23), d, column);
      hn::StoreU(pairs_high(low01, low23), d, column + to_stride);
      hn::StoreU(pairs_low(high01, high23), d, column + 2 * to_stride);
      hn::StoreU(pairs_high(high01, high23), d, column + 3 * to_stride);
    }
    for (; c < columns; ++c, ++row, column += to_stride) {
      for (std::size_t i = 0; i < 4; ++i) column[i] = row[i * from_stride];
    }
  }
  for (; r < rows; ++r) {
    const float* row = from + static_cast<std::size_t>(r) * from_stride;
    for (int c = 0; c < columns; ++c)
      to[static_cast<std::size_t>(c) * to_stride + static_cast<std::size_t>(r)] = row[c];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();
#endif
