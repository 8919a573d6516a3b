// Attention of 1 to 8 query rows (decoding): vector lanes run along the head dimension.
//
// Rows are taken in groups of 4, 2 or 1, which share every key and value vector that is loaded. A group of R
// rows keeps the products of T = lanes / R tokens in `lanes` sums, so that adding up the lanes of all of them
// gives one full vector, in token-major order [token][row]; the softmax works on such vectors, whatever their
// width:
//
//     lane        0   1   2   3 | 4   5   6   7 | ...        R = 4
//     score      t0r0 r1  r2  r3|t1r0 r1  r2  r3| ...
//
// Figures of a row (maximum, limits) therefore repeat with period 4 in all groups, and are kept so. Rows
// beyond query.rows are zero and their results are dropped.
#if defined(VELOXQUANT_ATTENTION_FEW_ROWS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef VELOXQUANT_ATTENTION_FEW_ROWS_INL
#undef VELOXQUANT_ATTENTION_FEW_ROWS_INL
#else
#define VELOXQUANT_ATTENTION_FEW_ROWS_INL
#endif

#include <hwy/cache_control.h>

#include "attention/attend_run.hpp"
#include "attention/few_rows_products-inl.hpp"
#include "attention/few_rows_softmax-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {

inline constexpr int kFewRows = 8;
inline constexpr int kTileTokens = 16;  // of 128 dimensions: 8 KiB, a part of the first-level cache

HWY_INLINE void score_group(const FewRowsGroup& group, const float* tile, std::size_t stride, int first,
                            int count) {
  float* scores = group.weights + first * group.width;
  switch (group.width) {
    case 4:
      return score_tile<4>(group.queries, tile, stride, count, scores);
    case 2:
      return score_tile<2>(group.queries, tile, stride, count, scores);
    default:
      return score_tile<1>(group.queries, tile, stride, count, scores);
  }
}

HWY_INLINE void weigh_group(FewRowsGroup& group, const AttendQuery& query, const TokenRun& run,
                            std::size_t stride, const float* key_factors, const float* value_factors) {
  switch (group.width) {
    case 4:
      return weigh_run<4>(group, query, run, stride, key_factors, value_factors);
    case 2:
      return weigh_run<2>(group, query, run, stride, key_factors, value_factors);
    default:
      return weigh_run<1>(group, query, run, stride, key_factors, value_factors);
  }
}

HWY_INLINE void add_group(const FewRowsGroup& group, const float* tile, std::size_t stride, int first,
                          int count) {
  const float* weights = group.weights + first * group.width;
  switch (group.width) {
    case 4:
      return add_tile<4>(weights, tile, stride, count, group.sums);
    case 2:
      return add_tile<2>(weights, tile, stride, count, group.sums);
    default:
      return add_tile<1>(weights, tile, stride, count, group.sums);
  }
}

// Asks for the codes and scales of a tile. Kernels ask one tile ahead, which is the time that a line takes to
// come; whole runs ahead would fill the queues of a CPU that sees the streams by itself.
HWY_INLINE void prefetch_tile(const TileReader& reader, const std::uint8_t* codes, const std::uint8_t* scales,
                              int first, int count) {
  const auto ask = [](const std::uint8_t* bytes, std::size_t size) {
    for (std::size_t i = 0; i < size; i += 64) hwy::Prefetch(bytes + i);
  };
  if (count == 0) return;
  reader.skip(codes, scales, first);
  const auto tokens = static_cast<std::size_t>(count);
  ask(codes, tokens * reader.code_bytes());
  ask(scales, tokens * reader.scale_bytes());
}

class FewRows {
 public:
  FewRows(const TileReader& keys, const TileReader& values, const AttendQuery& query, AttendScratch& scratch)
      : keys_(keys),
        values_(values),
        query_(query),
        key_stride_(padded_row(keys.dims())),
        value_stride_(padded_row(values.dims())) {
    const std::size_t tile = kTileTokens * std::max(key_stride_, value_stride_);
    const std::size_t floats =
        tile + kFewRows * (key_stride_ + value_stride_) + kFewRows * kRunTokens + 2 * (kRunTokens + kLanes);
    float* memory = scratch.reserve(floats);
    tile_ = take(memory, tile);
    key_factors_ = take(memory, kRunTokens + kLanes);
    value_factors_ = take(memory, kRunTokens + kLanes);
    for (int first = 0; first < query.rows; first += groups_[count_++].rows) {
      set_up(groups_[count_], first, memory);
    }
  }

  // `next` is the run after this one, if any.
  void attend(const TokenRun& run, const TokenRun& next) {
    load_token_factors(keys_.vector_scale() ? run.key_scales : nullptr, run.count, query_.scale,
                       key_factors_);
    load_token_factors(values_.vector_scale() ? run.value_scales : nullptr, run.count, 1.0f, value_factors_);
    for (int t = 0; t < run.count; t += kTileTokens) {
      const int here = tokens_at(run, t), then = tokens_at(run, t + kTileTokens);
      if (then > 0) {
        prefetch_tile(keys_, run.key_codes, run.key_scales, t + kTileTokens, then);
      } else {
        prefetch_tile(values_, run.value_codes, run.value_scales, 0, tokens_at(run, 0));
      }
      keys_.read(run.key_codes, run.key_scales, t, here, tile_, run.key_places);
      for (int g = 0; g < count_; ++g) score_group(groups_[g], tile_, key_stride_, t, here);
    }
    for (int g = 0; g < count_; ++g)
      weigh_group(groups_[g], query_, run, value_stride_, key_factors_, value_factors_);
    for (int t = 0; t < run.count; t += kTileTokens) {
      const int here = tokens_at(run, t), then = tokens_at(run, t + kTileTokens);
      if (then > 0) {
        prefetch_tile(values_, run.value_codes, run.value_scales, t + kTileTokens, then);
      } else {
        prefetch_tile(keys_, next.key_codes, next.key_scales, 0, tokens_at(next, 0));
      }
      values_.read(run.value_codes, run.value_scales, t, here, tile_);
      for (int g = 0; g < count_; ++g) add_group(groups_[g], tile_, value_stride_, t, here);
    }
  }

  void write(const AttendPartial& partial) const {
    const auto width = static_cast<std::size_t>(query_.head_dim),
               dims = static_cast<std::size_t>(values_.dims());
    for (int g = 0; g < count_; ++g) {
      for (int r = 0; r < groups_[g].rows; ++r) {
        const auto row = static_cast<std::size_t>(groups_[g].first + r);
        partial.max[row] = groups_[g].max[r];
        partial.sum[row] = groups_[g].total[r];
        float* out = partial.out + row * width;
        std::memcpy(out, groups_[g].sums + static_cast<std::size_t>(r) * value_stride_, dims * sizeof(float));
        std::fill(out + dims, out + width, 0.0f);
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
    const auto width = static_cast<std::size_t>(group.width),
               dims = static_cast<std::size_t>(query_.head_dim);
    group.queries = take(memory, width * key_stride_);
    group.sums = take(memory, width * value_stride_);
    group.weights = take(memory, width * kRunTokens);
    std::memset(group.queries, 0, width * key_stride_ * sizeof(float));
    std::memset(group.sums, 0, width * value_stride_ * sizeof(float));
    for (int r = 0; r < group.rows; ++r) {
      const float* row = query_.queries + static_cast<std::size_t>(first + r) * dims;
      std::memcpy(group.queries + static_cast<std::size_t>(r) * key_stride_, row, dims * sizeof(float));
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
  std::size_t key_stride_, value_stride_;
  float *tile_, *key_factors_, *value_factors_;
  FewRowsGroup groups_[2];
  int count_ = 0;
};

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();
#endif
