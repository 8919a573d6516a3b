// Attention of 1 to 8 query rows (decoding): vector lanes run along the head dimension.
//
// Rows are taken in groups of 4, 2 or 1, which share every key and value vector that is loaded. A group of R rows
// keeps the products of T = lanes / R tokens in `lanes` sums, so that adding up the lanes of all of them gives one
// full vector, in token-major order [token][row]; the softmax works on such vectors, whatever their width:
//
//     lane        0   1   2   3 | 4   5   6   7 | ...        R = 4
//     score      t0r0 r1  r2  r3|t1r0 r1  r2  r3| ...
//
// Figures of a row (maximum, limits) therefore repeat with period 4 in all groups, and are kept so. Rows beyond
// query.rows are zero and their results are dropped.
#if defined(VELOXQUANT_ATTENTION_FEW_ROWS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef VELOXQUANT_ATTENTION_FEW_ROWS_INL
#undef VELOXQUANT_ATTENTION_FEW_ROWS_INL
#else
#define VELOXQUANT_ATTENTION_FEW_ROWS_INL
#endif

#include "attention/attend_run.hpp"
#include "attention/vector_math-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {

inline constexpr int kFewRows = 8;
inline constexpr int kTileTokens = 16;  // of 128 dimensions: 8 KiB, a part of the first-level cache

struct FewRowsGroup {
  int first = 0, rows = 0;            // of the query
  int width = 0;                      // R
  float* queries = nullptr;           // [R, stride]
  float* sums = nullptr;              // [R, stride]
  float* weights = nullptr;           // [kRunTokens, R]: scores, then weights
  alignas(16) float max[4], total[4], offset[4];  // period R
};

// Sums of the lanes of four vectors, each 128-bit block by itself: (a, b, c, d) in every block.
HWY_INLINE FloatVector add_lanes_in_blocks(const FloatVector* v) {
  const Floats d;
  const hn::RepartitionToWide<Floats> dw;
  const auto ab = hn::Add(hn::InterleaveLower(d, v[0], v[1]), hn::InterleaveUpper(d, v[0], v[1]));
  const auto cd = hn::Add(hn::InterleaveLower(d, v[2], v[3]), hn::InterleaveUpper(d, v[2], v[3]));
  const auto abw = hn::BitCast(dw, ab), cdw = hn::BitCast(dw, cd);
  return hn::Add(hn::BitCast(d, hn::InterleaveLower(dw, abw, cdw)),
                 hn::BitCast(d, hn::InterleaveUpper(dw, abw, cdw)));
}

// Lane i of the result is the sum of the lanes of v[i].
template <int Lanes>
HWY_INLINE FloatVector add_lanes(const FloatVector* v) {
  const Floats d;
  const FloatVector first = add_lanes_in_blocks(v);
  if constexpr (Lanes == 4) {
    return first;
  } else if constexpr (Lanes == 8) {
    const FloatVector second = add_lanes_in_blocks(v + 4);
    return hn::Add(hn::ConcatLowerLower(d, second, first), hn::ConcatUpperUpper(d, second, first));
  } else {
    static_assert(Lanes == 16);
    const FloatVector second = add_lanes_in_blocks(v + 4), third = add_lanes_in_blocks(v + 8),
                      fourth = add_lanes_in_blocks(v + 12);
    auto even = hn::Add(hn::ConcatLowerLower(d, third, first), hn::ConcatUpperUpper(d, third, first));
    auto odd = hn::Add(hn::ConcatLowerLower(d, fourth, second), hn::ConcatUpperUpper(d, fourth, second));
    even = hn::Add(even, hn::SwapAdjacentBlocks(even));
    odd = hn::Add(odd, hn::SwapAdjacentBlocks(odd));
    return hn::OddEvenBlocks(odd, even);
  }
}

// scores[t, r] <- <tile[t], queries[r]> for t below `count` rounded up to T.
template <int R>
HWY_INLINE void score_tile(const float* queries, const float* tile, std::size_t stride, int count, float* scores) {
  constexpr int T = kLanes / R;
  const Floats d;
  for (int t = 0; t < count; t += T) {
    const float* keys = tile + static_cast<std::size_t>(t) * stride;
    FloatVector products[kLanes];
    for (int i = 0; i < kLanes; ++i) products[i] = hn::Zero(d);
    for (std::size_t c = 0; c < stride; c += kLanes) {
      FloatVector q[R];
      for (int r = 0; r < R; ++r) q[r] = hn::Load(d, queries + static_cast<std::size_t>(r) * stride + c);
      for (int i = 0; i < T; ++i) {
        const auto k = hn::Load(d, keys + static_cast<std::size_t>(i) * stride + c);
        for (int r = 0; r < R; ++r) products[i * R + r] = hn::MulAdd(k, q[r], products[i * R + r]);
      }
    }
    hn::Store(add_lanes<kLanes>(products), d, scores + t * R);
  }
}

// sums[r, c..] += sum_t weights[t, r] * tile[t, c..] for `Vectors` vectors of columns.
template <int R, int Vectors>
HWY_INLINE void add_columns(const float* weights, const float* tile, std::size_t stride, int count, float* sums) {
  const Floats d;
  FloatVector part[R * Vectors];
  for (int i = 0; i < R * Vectors; ++i) part[i] = hn::Zero(d);
  for (int t = 0; t < count; ++t, tile += stride, weights += R) {
    FloatVector v[Vectors];
    for (int j = 0; j < Vectors; ++j) v[j] = hn::Load(d, tile + j * kLanes);
    for (int r = 0; r < R; ++r) {
      const auto weight = hn::Set(d, weights[r]);
      for (int j = 0; j < Vectors; ++j) part[r * Vectors + j] = hn::MulAdd(weight, v[j], part[r * Vectors + j]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int j = 0; j < Vectors; ++j) {
      float* sum = sums + static_cast<std::size_t>(r) * stride + static_cast<std::size_t>(j * kLanes);
      hn::Store(hn::Add(hn::Load(d, sum), part[r * Vectors + j]), d, sum);
    }
  }
}

template <int R>
HWY_INLINE void add_tile(const float* weights, const float* tile, std::size_t stride, int count, float* sums) {
  constexpr int Vectors = kManyRegisters ? 4 : 2;
  std::size_t c = 0;
  for (; c + Vectors * kLanes <= stride; c += Vectors * kLanes) {
    add_columns<R, Vectors>(weights, tile + c, stride, count, sums + c);
  }
  for (; c < stride; c += kLanes) add_columns<R, 1>(weights, tile + c, stride, count, sums + c);
}

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
  const bool masked = all.begin > run.first || all.end < run.first + run.count || run.count % (kLanes / R) != 0;
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
HWY_INLINE void raise_maxima(FewRowsGroup& group, const float* highest, std::size_t stride, float* reference) {
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
HWY_INLINE void weigh_run(FewRowsGroup& group, const AttendQuery& query, const TokenRun& run, std::size_t stride,
                          const float* key_factors, const float* value_factors) {
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

HWY_INLINE void score_group(const FewRowsGroup& group, const float* tile, std::size_t stride, int first, int count) {
  float* scores = group.weights + first * group.width;
  switch (group.width) {
    case 4: return score_tile<4>(group.queries, tile, stride, count, scores);
    case 2: return score_tile<2>(group.queries, tile, stride, count, scores);
    default: return score_tile<1>(group.queries, tile, stride, count, scores);
  }
}

HWY_INLINE void weigh_group(FewRowsGroup& group, const AttendQuery& query, const TokenRun& run, std::size_t stride,
                            const float* key_factors, const float* value_factors) {
  switch (group.width) {
    case 4: return weigh_run<4>(group, query, run, stride, key_factors, value_factors);
    case 2: return weigh_run<2>(group, query, run, stride, key_factors, value_factors);
    default: return weigh_run<1>(group, query, run, stride, key_factors, value_factors);
  }
}

HWY_INLINE void add_group(const FewRowsGroup& group, const float* tile, std::size_t stride, int first, int count) {
  const float* weights = group.weights + first * group.width;
  switch (group.width) {
    case 4: return add_tile<4>(weights, tile, stride, count, group.sums);
    case 2: return add_tile<2>(weights, tile, stride, count, group.sums);
    default: return add_tile<1>(weights, tile, stride, count, group.sums);
  }
}

// Asks for the lines of a later tile; without it, loops this slow leave the memory idle between their misses.
HWY_INLINE void prefetch(const std::uint8_t* bytes, std::size_t count) {
  for (std::size_t i = 0; i < count; i += 64) __builtin_prefetch(bytes + i, 0, 2);
}

HWY_INLINE void prefetch_tile(const TileReader& reader, const std::uint8_t* codes, const std::uint8_t* scales,
                              int first, int count) {
  const auto begin = static_cast<std::size_t>(first), tokens = static_cast<std::size_t>(count);
  if (codes != nullptr) prefetch(codes + begin * reader.code_bytes(), tokens * reader.code_bytes());
  if (scales != nullptr) prefetch(scales + begin * reader.scale_bytes(), tokens * reader.scale_bytes());
}

class FewRows {
 public:
  FewRows(const TileReader& keys, const TileReader& values, const AttendQuery& query, AttendScratch& scratch)
      : keys_(keys), values_(values), query_(query), stride_(padded_row(query.head_dim)) {
    const std::size_t rows = 2 * kFewRows;  // queries and sums
    const std::size_t floats = (rows + kTileTokens) * stride_ + kFewRows * kRunTokens + 2 * (kRunTokens + kLanes);
    float* memory = scratch.reserve(floats);
    tile_ = take(memory, kTileTokens * stride_);
    key_factors_ = take(memory, kRunTokens + kLanes);
    value_factors_ = take(memory, kRunTokens + kLanes);
    for (int first = 0; first < query.rows; first += groups_[count_++].rows) {
      set_up(groups_[count_], first, memory);
    }
  }

  // `next` is the run after this one, if any, which is asked for meanwhile.
  void attend(const TokenRun& run, const TokenRun& next) {
    load_token_factors(keys_.vector_scale() ? run.key_scales : nullptr, run.count, query_.scale, key_factors_);
    load_token_factors(values_.vector_scale() ? run.value_scales : nullptr, run.count, 1.0f, value_factors_);
    for (int t = 0; t < run.count; t += kTileTokens) {
      const int here = tokens_at(run, t);
      prefetch_tile(keys_, next.key_codes, next.key_scales, t, tokens_at(next, t));
      keys_.read(run.key_codes, run.key_scales, t, here, tile_);
      for (int g = 0; g < count_; ++g) score_group(groups_[g], tile_, stride_, t, here);
    }
    for (int g = 0; g < count_; ++g) weigh_group(groups_[g], query_, run, stride_, key_factors_, value_factors_);
    for (int t = 0; t < run.count; t += kTileTokens) {
      const int here = tokens_at(run, t);
      prefetch_tile(values_, next.value_codes, next.value_scales, t, tokens_at(next, t));
      values_.read(run.value_codes, run.value_scales, t, here, tile_);
      for (int g = 0; g < count_; ++g) add_group(groups_[g], tile_, stride_, t, here);
    }
  }

  void write(const AttendPartial& partial) const {
    const auto width = static_cast<std::size_t>(query_.head_dim);
    for (int g = 0; g < count_; ++g) {
      for (int r = 0; r < groups_[g].rows; ++r) {
        const auto row = static_cast<std::size_t>(groups_[g].first + r);
        partial.max[row] = groups_[g].max[r];
        partial.sum[row] = groups_[g].total[r];
        std::memcpy(partial.out + row * width, groups_[g].sums + static_cast<std::size_t>(r) * stride_,
                    width * sizeof(float));
      }
    }
  }

 private:
  static float* take(float*& memory, std::size_t floats) {
    float* taken = memory;
    memory += floats;
    return taken;
  }

  static int tokens_at(const TokenRun& run, int first) {
    const int left = run.count - first;
    return left < 0 ? 0 : left < kTileTokens ? left : kTileTokens;
  }

  void set_up(FewRowsGroup& group, int first, float*& memory) const {
    const int left = query_.rows - first;
    group.first = first;
    group.rows = left < 4 ? left : 4;
    group.width = left < 3 ? left : 4;
    const auto width = static_cast<std::size_t>(group.width), dims = static_cast<std::size_t>(query_.head_dim);
    group.queries = take(memory, width * stride_);
    group.sums = take(memory, width * stride_);
    group.weights = take(memory, width * kRunTokens);
    std::memset(group.queries, 0, width * stride_ * sizeof(float));
    std::memset(group.sums, 0, width * stride_ * sizeof(float));
    for (int r = 0; r < group.rows; ++r) {
      const float* row = query_.queries + static_cast<std::size_t>(first + r) * dims;
      std::memcpy(group.queries + static_cast<std::size_t>(r) * stride_, row, dims * sizeof(float));
    }
    for (int i = 0; i < 4; ++i) {
      const int r = i % group.width;
      const bool offset = query_.key_offset != nullptr && r < group.rows;
      group.max[i] = -std::numeric_limits<float>::infinity();
      group.total[i] = 0;
      group.offset[i] = offset ? query_.key_offset[first + r] * query_.scale : 0.0f;
    }
  }

  const TileReader& keys_;
  const TileReader& values_;
  const AttendQuery& query_;
  std::size_t stride_;
  float *tile_, *key_factors_, *value_factors_;
  FewRowsGroup groups_[2];
  int count_ = 0;
};

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();
#endif
