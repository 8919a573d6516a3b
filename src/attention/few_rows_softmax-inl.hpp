// The online softmax of a group of few query rows, on scores in token-major order (few_rows-inl.hpp draws
// it).
#if defined(VELOXQUANT_ATTENTION_FEW_ROWS_SOFTMAX_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef VELOXQUANT_ATTENTION_FEW_ROWS_SOFTMAX_INL
#undef VELOXQUANT_ATTENTION_FEW_ROWS_SOFTMAX_INL
#else
#define VELOXQUANT_ATTENTION_FEW_ROWS_SOFTMAX_INL
#endif

#include "attention/attend_run.hpp"
#include "attention/vector_math-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {

struct FewRowsGroup {
  int first = 0, rows = 0;                        // of the query
  int width = 0;                                  // R
  float* queries = nullptr;                       // [R, key stride]
  float* sums = nullptr;                          // [R, value stride]
  float* weights = nullptr;                       // [kRunTokens, R]: scores, then weights
  alignas(16) float max[4], total[4], offset[4];  // period R
};

// The factor of each lane's token: tokens t, t + 1, ... repeated R times each.
template <int R>
class TokenFactors {
 public:
  explicit TokenFactors(const float* factors) : factors_(factors) {
    for (int i = 0; i < kLanes; ++i) lane_token_[i] = i / R;
  }
  HWY_INLINE FloatVector at(int token) const {
    const Floats d;
    return hn::TableLookupLanes(hn::LoadU(d, factors_ + token), hn::SetTableIndices(d, lane_token_));
  }
  HWY_INLINE FloatVector token_index(int token) const {
    const Floats d;
    const hn::RebindToSigned<Floats> di;
    return hn::ConvertTo(d, hn::Add(hn::Load(di, lane_token_), hn::Set(di, token)));
  }

 private:
  const float* factors_;
  alignas(64) std::int32_t lane_token_[kLanes];
};

// Row r of a vector of period R, combined over the lanes by `merge`.
template <int R, class Merge>
HWY_INLINE void merge_lanes(FloatVector v, float* of_row, const Merge& merge) {
  alignas(64) float lanes[kLanes];
  hn::Store(v, Floats(), lanes);
  for (int r = 0; r < R; ++r) {
    for (int i = r + R; i < kLanes; i += R) lanes[r] = merge(lanes[r], lanes[i]);
  }
  for (int i = 0; i < 4; ++i) of_row[i] = lanes[i % R];
}

// First and last token, counted from the run's first, that each row of a group sees. Period R.
struct RowLimits {
  alignas(16) float begin[4], end[4];
};

template <int R>
HWY_INLINE RowLimits row_limits(const FewRowsGroup& group, const AttendQuery& query, const TokenRun& run) {
  RowLimits limits;
  for (int i = 0; i < 4; ++i) {
    const int r = i % R;
    const bool padding = r >= group.rows;
    const auto inside = [&run](std::int64_t token) {
      const std::int64_t from_first = token - run.first;
      return static_cast<float>(from_first < 0 ? 0 : from_first > run.count ? run.count : from_first);
    };
    limits.begin[i] = padding ? 0.0f : inside(query.begin[group.first + r]);
    limits.end[i] = padding ? static_cast<float>(run.count) : inside(query.end[group.first + r]);
  }
  return limits;
}

// scores <- scores * factor + offset, -infinity where a row does not see the token; the maximum of each row.
template <int R>
HWY_INLINE void finish_scores(const FewRowsGroup& group, const AttendQuery& query, const TokenRun& run,
                              const float* factors, float* highest) {
  const Floats d;
  const TokenFactors<R> key_factors(factors);
  const auto offset = hn::LoadDup128(d, group.offset);
  const auto lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  const TokenRange all = visible_to_all(query, group.first, group.rows);
  const bool masked =
      all.begin > run.first || all.end < run.first + run.count || run.count % (kLanes / R) != 0;
  auto max = lowest;
  if (!masked) {
    for (int i = 0; i < run.count * R; i += kLanes) {
      const auto score = hn::MulAdd(hn::Load(d, group.weights + i), key_factors.at(i / R), offset);
      hn::Store(score, d, group.weights + i);
      max = hn::Max(max, score);
    }
  } else {
    const RowLimits limits = row_limits<R>(group, query, run);
    const auto begin = hn::LoadDup128(d, limits.begin), end = hn::LoadDup128(d, limits.end);
    for (int i = 0; i < run.count * R; i += kLanes) {
      const auto token = key_factors.token_index(i / R);
      const auto score = hn::MulAdd(hn::Load(d, group.weights + i), key_factors.at(i / R), offset);
      const auto seen = hn::IfThenElse(hn::And(hn::Ge(token, begin), hn::Lt(token, end)), score, lowest);
      hn::Store(seen, d, group.weights + i);
      max = hn::Max(max, seen);
    }
  }
  merge_lanes<R>(max, highest, [](float a, float b) { return a > b ? a : b; });
}

// Raises the maxima of a group to those of the scores; what was summed so far shrinks with them.
template <int R>
HWY_INLINE void raise_maxima(FewRowsGroup& group, const float* highest, std::size_t stride,
                             float* reference) {
  const Floats d;
  alignas(64) float shrink[kLanes];
  bool grown = false;
  for (int i = 0; i < 4; ++i) {
    const float max = highest[i] > group.max[i] ? highest[i] : group.max[i];
    grown = grown || max > group.max[i];
    reference[i] = max == -std::numeric_limits<float>::infinity() ? 0.0f : max;
    shrink[i] = group.max[i] - reference[i];
    group.max[i] = max;
  }
  if (!grown) return;
  hn::Store(exp_not_above_zero(hn::LoadDup128(d, shrink)), d, shrink);
  for (int r = 0; r < R; ++r) {
    const auto factor = hn::Set(d, shrink[r]);
    float* sums = group.sums + static_cast<std::size_t>(r) * stride;
    for (std::size_t c = 0; c < stride; c += kLanes) {
      hn::Store(hn::Mul(hn::Load(d, sums + c), factor), d, sums + c);
    }
  }
  for (int i = 0; i < 4; ++i) group.total[i] *= shrink[i];
}

// Scores -> weights of the value codes, one online softmax step.
template <int R>
HWY_INLINE void weigh_run(FewRowsGroup& group, const AttendQuery& query, const TokenRun& run,
                          std::size_t stride, const float* key_factors, const float* value_factors) {
  const Floats d;
  alignas(16) float highest[4], reference[4], added[4];
  finish_scores<R>(group, query, run, key_factors, highest);
  raise_maxima<R>(group, highest, stride, reference);
  const TokenFactors<R> factors(value_factors);
  const auto max = hn::LoadDup128(d, reference);
  auto total = hn::Zero(d);
  for (int i = 0; i < run.count * R; i += kLanes) {
    const auto weight = exp_not_above_zero(hn::Sub(hn::Load(d, group.weights + i), max));
    total = hn::Add(total, weight);
    hn::Store(hn::Mul(weight, factors.at(i / R)), d, group.weights + i);
  }
  merge_lanes<R>(total, added, [](float a, float b) { return a + b; });
  for (int i = 0; i < 4; ++i) group.total[i] += added[i];
}

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();
#endif
