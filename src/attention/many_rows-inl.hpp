// Attention of 9 and more query rows (prefill): vector lanes run along the query rows.
//
// Rows are cut into blocks of up to 64, each turned once per call: Q^T [head_dim][rows]. Then both products
// are plain matrix products whose left factor is the decoded tile, read element by element and broadcast,
//
//     S^T [token][row] = sum over dims    K[token][dim] * Q^T[dim][row]
//     O^T [dim][row]  += sum over tokens  V[token][dim] * P^T[token][row]
//
// and the softmax between them has no horizontal step. Every block of rows uses a tile while it is there, so
// that codes are unpacked once per call.
#if defined(VELOXQUANT_ATTENTION_MANY_ROWS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef VELOXQUANT_ATTENTION_MANY_ROWS_INL
#undef VELOXQUANT_ATTENTION_MANY_ROWS_INL
#else
#define VELOXQUANT_ATTENTION_MANY_ROWS_INL
#endif

#include "attention/attend_run.hpp"
#include "attention/matrix-inl.hpp"
#include "attention/vector_math-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {

inline constexpr int kBlockRows = 64;

struct RowBlock {
  int first, rows;     // of the query
  std::size_t width;   // rows, rounded up to whole vectors
  float* queries;      // [key stride, width]
  float* sums;         // [value stride, width]
  float *max, *total;  // [width]
  float* offset;       // [width], times the scale
};

// First and last token, counted from the run's first, that each row of a block sees; rows of padding see them
// all.
struct BlockLimits {
  alignas(64) float begin[kBlockRows], end[kBlockRows];
};

HWY_INLINE BlockLimits block_limits(const RowBlock& block, const AttendQuery& query, const TokenRun& run) {
  BlockLimits limits;
  const auto inside = [&run](std::int64_t token) {
    const std::int64_t from_first = token - run.first;
    return static_cast<float>(from_first < 0 ? 0 : from_first > run.count ? run.count : from_first);
  };
  for (int r = 0; r < kBlockRows; ++r) {
    limits.begin[r] = r < block.rows ? inside(query.begin[block.first + r]) : 0.0f;
    limits.end[r] = r < block.rows ? inside(query.end[block.first + r]) : static_cast<float>(run.count);
  }
  return limits;
}

// Column of scores (one vector of rows) <- scores * factor + offset, masked; returns the maximum over the
// tokens.
template <bool Masked>
HWY_INLINE FloatVector finish_column(float* scores, std::size_t width, int count, const float* factors,
                                     FloatVector offset, const float* begin, const float* end) {
  const Floats d;
  const auto lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  auto max = lowest;
  for (int t = 0; t < count; ++t, scores += width) {
    auto score = hn::MulAdd(hn::Load(d, scores), hn::Set(d, factors[t]), offset);
    if constexpr (Masked) {
      const auto token = hn::Set(d, static_cast<float>(t));
      const auto seen = hn::And(hn::Ge(token, hn::Load(d, begin)), hn::Lt(token, hn::Load(d, end)));
      score = hn::IfThenElse(seen, score, lowest);
    }
    hn::Store(score, d, scores);
    max = hn::Max(max, score);
  }
  return max;
}

// The new maxima of one vector of rows; what was summed so far shrinks with them. Returns the maxima, 0 for
// rows that have seen nothing.
HWY_INLINE FloatVector raise_column(const RowBlock& block, std::size_t column, FloatVector highest,
                                    std::size_t stride) {
  const Floats d;
  const auto old = hn::Load(d, block.max + column);
  const auto max = hn::Max(old, highest);
  const auto lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  const auto reference = hn::IfThenZeroElse(hn::Eq(max, lowest), max);
  if (hn::AllFalse(d, hn::Gt(max, old))) return reference;
  hn::Store(max, d, block.max + column);
  const auto shrink = exp_not_above_zero(hn::Sub(old, reference));
  hn::Store(hn::Mul(hn::Load(d, block.total + column), shrink), d, block.total + column);
  float* sums = block.sums + column;
  for (std::size_t c = 0; c < stride; ++c, sums += block.width)
    hn::Store(hn::Mul(hn::Load(d, sums), shrink), d, sums);
  return reference;
}

// Scores -> weights of the value codes, one online softmax step for a block of rows.
HWY_INLINE void weigh_block(const RowBlock& block, const AttendQuery& query, const TokenRun& run,
                            std::size_t stride, const float* key_factors, const float* value_factors,
                            float* scores) {
  const Floats d;
  const TokenRange all = visible_to_all(query, block.first, block.rows);
  const bool masked = all.begin > run.first || all.end < run.first + run.count;
  BlockLimits limits;
  if (masked) limits = block_limits(block, query, run);
  for (std::size_t n = 0; n < block.width; n += kLanes) {
    const auto offset = hn::Load(d, block.offset + n);
    const float *begin = limits.begin + n, *end = limits.end + n;
    const auto highest =
        masked ? finish_column<true>(scores + n, block.width, run.count, key_factors, offset, begin, end)
               : finish_column<false>(scores + n, block.width, run.count, key_factors, offset, begin, end);
    const auto reference = raise_column(block, n, highest, stride);
    auto total = hn::Load(d, block.total + n);
    float* weights = scores + n;
    for (int t = 0; t < run.count; ++t, weights += block.width) {
      const auto weight = exp_not_above_zero(hn::Sub(hn::Load(d, weights), reference));
      total = hn::Add(total, weight);
      hn::Store(hn::Mul(weight, hn::Set(d, value_factors[t])), d, weights);
    }
    hn::Store(total, d, block.total + n);
  }
}

class ManyRows {
 public:
  ManyRows(const TileReader& keys, const TileReader& values, const AttendQuery& query, AttendScratch& scratch)
      : keys_(keys),
        values_(values),
        query_(query),
        key_stride_(padded_row(keys.dims())),
        value_stride_(padded_row(values.dims())) {
    const std::size_t rows =
        (static_cast<std::size_t>(query.rows) + kBlockRows - 1) / kBlockRows * kBlockRows;
    const std::size_t shared =
        kRunTokens * (key_stride_ + value_stride_) + kRunTokens * kBlockRows + 2 * kRunTokens;
    float* memory = scratch.reserve(shared + rows * floats_of_row());
    key_tile_ = take(memory, kRunTokens * key_stride_);
    value_tile_ = take(memory, kRunTokens * value_stride_);
    scores_ = take(memory, kRunTokens * kBlockRows);
    key_factors_ = take(memory, kRunTokens);
    value_factors_ = take(memory, kRunTokens);
    blocks_ = memory;
    for (int first = 0; first < query.rows; first += kBlockRows) set_up(block_at(first));
  }

  void attend(const TokenRun& run) {
    load_token_factors(keys_.vector_scale() ? run.key_scales : nullptr, run.count, query_.scale,
                       key_factors_);
    load_token_factors(values_.vector_scale() ? run.value_scales : nullptr, run.count, 1.0f, value_factors_);
    keys_.read(run.key_codes, run.key_scales, 0, run.count, key_tile_, run.key_places);
    values_.read(run.value_codes, run.value_scales, 0, run.count, value_tile_);
    for (int first = 0; first < query_.rows; first += kBlockRows) {
      const RowBlock block = block_at(first);
      const TokenRange seen = visible_to_any(query_, block.first, block.rows);
      if (seen.begin < run.first + run.count && run.first < seen.end) attend_block(block, run);
    }
  }

  void write(const AttendPartial& partial) const {
    const auto width = static_cast<std::size_t>(query_.head_dim),
               dims = static_cast<std::size_t>(values_.dims());
    for (int first = 0; first < query_.rows; first += kBlockRows) {
      const RowBlock block = block_at(first);
      const auto rows = static_cast<std::size_t>(block.rows);
      std::memcpy(partial.max + first, block.max, rows * sizeof(float));
      std::memcpy(partial.sum + first, block.total, rows * sizeof(float));
      float* out = partial.out + static_cast<std::size_t>(first) * width;
      transpose(block.sums, block.width, values_.dims(), block.rows, out, width);
      for (std::size_t r = 0; r < rows; ++r) std::fill(out + r * width + dims, out + (r + 1) * width, 0.0f);
    }
  }

 private:
  static float* take(float*& memory, std::size_t floats) {
    float* taken = memory;
    memory += floats;
    return taken;
  }

  // Of queries, sums, max, total and offset.
  std::size_t floats_of_row() const { return key_stride_ + value_stride_ + 3; }

  RowBlock block_at(int first) const {
    RowBlock block;
    block.first = first;
    block.rows = query_.rows - first < kBlockRows ? query_.rows - first : kBlockRows;
    block.width = (static_cast<std::size_t>(block.rows) + kLanes - 1) / kLanes * kLanes;
    float* memory = blocks_ + static_cast<std::size_t>(first) * floats_of_row();
    block.queries = take(memory, key_stride_ * block.width);
    block.sums = take(memory, value_stride_ * block.width);
    block.max = take(memory, block.width);
    block.total = take(memory, block.width);
    block.offset = take(memory, block.width);
    return block;
  }

  void set_up(const RowBlock& block) const {
    const auto dims = static_cast<std::size_t>(query_.head_dim);
    std::memset(block.queries, 0, key_stride_ * block.width * sizeof(float));
    std::memset(block.sums, 0, value_stride_ * block.width * sizeof(float));
    transpose(query_.queries + static_cast<std::size_t>(block.first) * dims, dims, block.rows,
              query_.head_dim, block.queries, block.width);
    for (std::size_t r = 0; r < block.width; ++r) {
      const bool offset = query_.key_offset != nullptr && r < static_cast<std::size_t>(block.rows);
      block.max[r] = -std::numeric_limits<float>::infinity();
      block.total[r] = 0;
      block.offset[r] =
          offset ? query_.key_offset[static_cast<std::size_t>(block.first) + r] * query_.scale : 0.0f;
    }
  }

  // An odd number of tokens is scored with one more row of the tile, whose scores nobody reads.
  void attend_block(const RowBlock& block, const TokenRun& run) const {
    const int even = run.count + run.count % 2;
    multiply<false, false>(key_tile_, key_stride_, block.queries, block.width, even,
                           static_cast<int>(key_stride_), scores_);
    weigh_block(block, query_, run, value_stride_, key_factors_, value_factors_, scores_);
    multiply<true, true>(value_tile_, value_stride_, scores_, block.width, static_cast<int>(value_stride_),
                         run.count, block.sums);
  }

  const TileReader& keys_;
  const TileReader& values_;
  const AttendQuery& query_;
  std::size_t key_stride_, value_stride_;
  float *key_tile_, *value_tile_, *scores_, *key_factors_, *value_factors_, *blocks_;
};

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();
#endif
