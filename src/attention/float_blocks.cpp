// Floating-point codes at every CPU level: rows of stored values, lanes along the head dimension.
//
// Keys: products of T tokens with R rows, T * R = kLanes, are kept in as many registers along the dimensions;
// a transposing addition turns them into the sums, once per T tokens.
//
// Values: sums of some rows and columns stay in registers over all 64 tokens.
#include "attention/float_blocks.hpp"

#include <cstring>

#include "attention/block_rows.hpp"
#include "core/dispatch.hpp"

#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#define HWY_WANT_AVX3_DL
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/float_blocks.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "attention/few_rows_products-inl.hpp"
#include "attention/float_values-inl.hpp"

#ifndef VELOXQUANT_FLOAT_BLOCKS_ONCE
#define VELOXQUANT_FLOAT_BLOCKS_ONCE
namespace veloxquant {

struct FloatKernels {
  KeyKernel::Prepare prepare = nullptr;
  KeyKernel::Scores scores = nullptr;
  ValueKernel::Add add = nullptr;
};

}  // namespace veloxquant
#endif

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {

// Asks for the lines that follow each other in a section, a share at a time. They go to the second cache: two
// sections of rows this wide are as large as the first, where what is asked for would push out what is read.
class LinesAhead {
 public:
  explicit LinesAhead(const std::uint8_t* lines) : lines_(lines) {}
  HWY_INLINE void ask(std::size_t bytes) {
    if (lines_ == nullptr) return;
    for (std::size_t i = 0; i < bytes; i += 64) __builtin_prefetch(lines_ + i, 0, 2);
    lines_ += bytes;
  }

 private:
  const std::uint8_t* lines_;
};

// Rows as they are, the missing ones up to a kernel's width zero.
template <class Values>
void prepare_rows(const KeyKernel& self, const float* queries, std::size_t stride, int rows,
                  std::byte* prepared) {
  const std::size_t dims = static_cast<std::size_t>(self.spec.head_dim),
                    given = static_cast<std::size_t>(rows),
                    all = static_cast<std::size_t>(kernel_row_width(rows));
  auto* to = reinterpret_cast<float*>(prepared);
  for (std::size_t r = 0; r < given; ++r) {
    for (std::size_t c = 0; c < dims; ++c) to[r * dims + c] = queries[r * stride + c] * Values::kScale;
  }
  std::memset(to + given * dims, 0, (all - given) * dims * sizeof(float));
}

// scores[r][t] for R rows of queries and `count` tokens, a multiple of 16.
template <class Values, int R>
HWY_INLINE void score_tokens(const float* queries, int head_dim, const std::uint8_t* keys, int count,
                             LinesAhead& ahead, float* scores) {
  constexpr int T = kLanes / R;
  const Floats d;
  const auto dims = static_cast<std::size_t>(head_dim);
  const std::size_t row = dims * sizeof(typename Values::Stored);
  for (int t = 0; t < count; t += T, keys += T * row) {
    ahead.ask(T * row);
    FloatVector products[kLanes];
    for (int i = 0; i < kLanes; ++i) products[i] = hn::Zero(d);
    for (std::size_t c = 0; c < dims; c += kLanes) {
      FloatVector k[T];
      for (std::size_t i = 0; i < T; ++i)
        k[i] = Values::load(keys + i * row + c * sizeof(typename Values::Stored));
      for (std::size_t r = 0; r < R; ++r) {
        const auto q = hn::Load(d, queries + r * dims + c);
        for (int i = 0; i < T; ++i)
          products[static_cast<int>(r) * T + i] = hn::MulAdd(k[i], q, products[static_cast<int>(r) * T + i]);
      }
    }
    alignas(64) float sums[kLanes];
    hn::Store(add_lanes<kLanes>(products), d, sums);
    for (int r = 0; r < R; ++r) std::memcpy(scores + r * kBlockTokens + t, sums + r * T, T * sizeof(float));
  }
}

template <class Values>
void score_block(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                 const std::uint8_t* ahead, int first_group, int groups, float* scores) {
  const auto* queries = reinterpret_cast<const float*>(prepared);
  const std::uint8_t* keys = block + static_cast<std::size_t>(16 * first_group) * self.spec.code_bytes();
  scores += 16 * first_group;
  LinesAhead lines(ahead), nothing(nullptr);
  with_row_width(rows, [&]<int Rows>() HWY_ATTR {
    constexpr int kAtOnce = Rows < kLanes ? Rows : kLanes;
    for (int r = 0; r < Rows; r += kAtOnce) {
      score_tokens<Values, kAtOnce>(queries + r * self.spec.head_dim, self.spec.head_dim, keys, 16 * groups,
                                    r == 0 ? lines : nothing, scores + r * kBlockTokens);
    }
  });
}

// sums[r][0 .. V * kLanes) += sum_t weights[r][t] * the same columns of value t.
template <class Values, int R, int V>
HWY_INLINE void add_columns_of_rows(const float* weights, const std::uint8_t* values, std::size_t row,
                                    LinesAhead& ahead, std::size_t stride, float* sums) {
  constexpr std::size_t kVector = kLanes * sizeof(typename Values::Stored);
  const Floats d;
  FloatVector part[R][V];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) part[r][v] = hn::Zero(d);
  }
  for (int t = 0; t < kBlockTokens; ++t, values += row) {
    ahead.ask(V * kVector);
    FloatVector value[V];
    for (std::size_t v = 0; v < V; ++v) value[v] = Values::load(values + v * kVector);
    for (int r = 0; r < R; ++r) {
      const auto weight = hn::Set(d, weights[r * kBlockTokens + t]);
      for (int v = 0; v < V; ++v) part[r][v] = hn::MulAdd(weight, value[v], part[r][v]);
    }
  }
  for (int r = 0; r < R; ++r) {
    float* sum = sums + static_cast<std::size_t>(r) * stride;
    for (int v = 0; v < V; ++v, sum += kLanes)
      hn::Store(hn::MulAdd(part[r][v], hn::Set(d, Values::kScale), hn::Load(d, sum)), d, sum);
  }
}

template <class Values, int R>
HWY_INLINE void add_rows(const ValueKernel& self, const float* weights, const std::uint8_t* block,
                         LinesAhead& ahead, float* sums) {
  constexpr int kVectors = (kManyRegisters ? 16 : 8) / (R < 4 ? 4 : R);
  const auto dims = static_cast<std::size_t>(self.spec.head_dim);
  const std::size_t row = self.spec.code_bytes(), stride = sum_stride(self);
  std::size_t c = 0;
  const auto add = [&]<int V>() HWY_ATTR {
    for (; c + V * kLanes <= dims; c += V * kLanes) {
      add_columns_of_rows<Values, R, V>(weights, block + c * sizeof(typename Values::Stored), row, ahead,
                                        stride, sums + c);
    }
  };
  add.template operator()<kVectors>();
  if constexpr (kVectors > 1) add.template operator()<1>();
}

template <class Values>
void add_block(const ValueKernel& self, const BlockWeights& weights, int rows, const std::uint8_t* block,
               const std::uint8_t* ahead, float* sums) {
  LinesAhead lines(ahead);
  with_row_width(rows,
                 [&]<int Rows>() HWY_ATTR { add_rows<Values, Rows>(self, weights.f32, block, lines, sums); });
}

template <class Values>
FloatKernels kernels_of() {
  return {prepare_rows<Values>, score_block<Values>, add_block<Values>};
}

FloatKernels float_kernels(CodeKind kind) {
  switch (kind) {
    case CodeKind::f32:
      return kernels_of<SingleValues>();
    case CodeKind::f16:
      return kernels_of<HalfValues>();
    case CodeKind::bf16:
      return kernels_of<BrainValues>();
    case CodeKind::fp8_e4m3:
      return kernels_of<Fp8Values>();
    default:
      return {};
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {
namespace {

HWY_EXPORT(float_kernels);

FloatKernels kernels_for(const CodeSpec& spec) {
  if (spec.head_dim % kRowUnit != 0) return {};
  return VELOX_DISPATCH(float_kernels)(spec.kind);
}

}  // namespace

KeyKernel float_keys(const CodeSpec& spec) {
  const FloatKernels kernels = kernels_for(spec);
  return {.prepare = kernels.prepare,
          .scores = kernels.scores,
          .spec = spec,
          .prepared_bytes = kKernelRows * static_cast<std::size_t>(spec.head_dim) * sizeof(float),
          .tables = nullptr,
          .most_rows = kRowsBeforeTiles};
}

ValueKernel float_values(const CodeSpec& spec) {
  return {.add = kernels_for(spec).add,
          .form = WeightForm::f32,
          .spec = spec,
          .tables = nullptr,
          .most_rows = kRowsBeforeTiles};
}

}  // namespace veloxquant
#endif
