#include "quantizers/spectral_head.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "linalg/matrix_vector.hpp"

namespace veloxquant {
namespace {

constexpr std::int64_t kMeanTable = 1024;

std::size_t as_size(int n) { return static_cast<std::size_t>(n); }

// The angles of the frames' starts, made again only when another frame begins. With the angles of one position they are
// advanced from the nearest multiple of kAnchor below, which takes a tenth of the time, is exact to rounding, and depends
// on the position alone.
class FrameAngles {
 public:
  explicit FrameAngles(const RopeTurn* turn, const TurnAngles* one = nullptr) : turn_(turn), one_(one) {}
  const TurnAngles& at(std::int64_t start) {
    if (start == start_) return angles_;
    if (one_ == nullptr) {
      angles_ = turn_->angles(start);
    } else {
      if (start_ < 0 || start < start_ || start / kAnchor != start_ / kAnchor) {
        start_ = start / kAnchor * kAnchor;
        angles_ = turn_->angles(start_);
      }
      for (; start_ < start; ++start_) RopeTurn::advance(angles_, *one_);
    }
    start_ = start;
    return angles_;
  }

 private:
  static constexpr std::int64_t kAnchor = 64;
  const RopeTurn* turn_;
  const TurnAngles* one_;
  std::int64_t start_ = -1;
  TurnAngles angles_;
};

}  // namespace

SpectralHead::SpectralHead(const SpectralBasis& basis, std::span<const RunPlan> runs, bool gain,
                           std::shared_ptr<const RopeTurn> turn, std::int64_t frame)
    : head_dim_(basis.head_dim),
      frame_(frame),
      means_(basis.mean, basis.mean + basis.head_dim),
      code_(make_mixed_code(runs, gain && !runs.empty(), turn != nullptr)),
      turn_(std::move(turn)) {
  const std::size_t dim = as_size(head_dim_), coded = as_size(spec().head_dim);
  const std::size_t columns = as_size(padded_columns(spec().head_dim)),
                    padded = as_size(padded_columns(head_dim_));
  if (turn_) {
    means_.resize(static_cast<std::size_t>(std::clamp<std::int64_t>(frame, 1, kMeanTable)) * dim);
    for (std::size_t t = 1; t < means_.size() / dim; ++t) {
      turn_->forwards(turn_->angles(static_cast<std::int64_t>(t)), means_.data(), means_.data() + t * dim);
    }
  }
  forward_.resize(dim * columns);
  inverse_.resize(coded * padded);
  for (std::size_t c = 0; c < coded; ++c) {
    const float sigma = std::sqrt(std::max(basis.lambda[c], 1e-30f));
    for (std::size_t i = 0; i < dim; ++i) {
      forward_[i * columns + c] = basis.forward[c * dim + i] / sigma;
      inverse_[c * padded + i] = basis.inverse[c * dim + i] * sigma;
    }
  }
  if (turn_) one_turn_ = turn_->angles(1);
  if (turn_ == nullptr || !readable()) return;
  query_basis_.resize(dim * columns);
  for (std::size_t i = 0; i < dim; ++i) {
    for (std::size_t c = 0; c < coded; ++c) query_basis_[i * columns + c] = inverse_[c * padded + i];
  }
  const auto places = static_cast<std::size_t>(frame_);
  const std::size_t place_columns = as_size(padded_columns(static_cast<int>(frame_)));
  query_means_.resize(dim * place_columns);
  for (std::size_t i = 0; i < dim; ++i) {
    for (std::size_t t = 0; t < places; ++t) query_means_[i * place_columns + t] = means_[t * dim + i];
  }
  frame_turn_ = turn_->angles(frame_);
}

void SpectralHead::turn_queries(const float* queries, int rows, std::int64_t start,
                                FramedQueries& seen) const {
  const std::size_t dim = as_size(head_dim_), count = as_size(rows);
  seen.turned.resize(count * dim);
  seen.coded.resize(count * as_size(coded_dim()) + kMatrixPad);
  seen.places = static_cast<std::size_t>(frame_);
  seen.means.resize(count * seen.places + kMatrixPad);
  if (seen.start >= 0 && start == seen.start + frame_) {
    RopeTurn::advance(seen.angles, frame_turn_);
  } else if (start != seen.start) {
    seen.angles = turn_->angles(start);
  }
  seen.start = start;
  for (std::size_t r = 0; r < count; ++r)
    turn_->back(seen.angles, queries + r * dim, seen.turned.data() + r * dim);
  multiply_rows(seen.turned.data(), rows, query_basis_.data(), head_dim_, coded_dim(), seen.coded.data());
  multiply_rows(seen.turned.data(), rows, query_means_.data(), head_dim_, static_cast<int>(frame_),
                seen.means.data());
}

void SpectralHead::restore_sum(const float* coded, float weight, float* out) const {
  std::vector<float> sum(as_size(head_dim_) + kMatrixPad);
  multiply_rows(coded, 1, inverse_.data(), coded_dim(), head_dim_, sum.data());
  for (std::size_t i = 0; i < as_size(head_dim_); ++i) out[i] = sum[i] + weight * means_[i];
}

void SpectralHead::shift(float* row, std::int64_t place, float sign) const {
  std::vector<float> turned;
  const std::size_t dim = as_size(head_dim_), t = static_cast<std::size_t>(place);
  const float* mean = means_.data() + t * dim;
  if (t >= means_.size() / dim) {
    turned.resize(dim);
    turn_->forwards(turn_->angles(place), means_.data(), turned.data());
    mean = turned.data();
  }
  for (std::size_t i = 0; i < dim; ++i) row[i] += sign * mean[i];
}

void SpectralHead::encode(const float* rows, const TokenPlace* places, std::size_t count, std::uint8_t* codes,
                          std::uint8_t* scales) const {
  if (spec().head_dim == 0) return;
  const std::size_t dim = as_size(head_dim_), coded = as_size(spec().head_dim);
  std::vector<float> residuals(rows, rows + count * dim), z(count * coded + kMatrixPad);
  FrameAngles frames(turn_.get());
  for (std::size_t i = 0; i < count; ++i) {
    float* row = residuals.data() + i * dim;
    if (turn_) turn_->back(frames.at(places[i].frame_start), row, row);
    shift(row, turn_ ? places[i].position - places[i].frame_start : 0, -1);
  }
  multiply_rows(residuals.data(), static_cast<int>(count), forward_.data(), head_dim_, spec().head_dim,
                z.data());
  for (std::size_t i = 0; i < count; ++i) {
    code_->encode(z.data() + i * coded, codes + i * spec().code_bytes(), scales + i * spec().scale_bytes());
  }
}

void SpectralHead::decode(const std::uint8_t* codes, const std::uint8_t* scales, const TokenPlace* places,
                          std::size_t count, float* rows) const {
  const std::size_t dim = as_size(head_dim_), coded = as_size(spec().head_dim);
  std::vector<float> y(count * coded), residuals(count * dim + kMatrixPad);
  for (std::size_t i = 0; i < count && coded > 0; ++i) {
    decode_row(spec(), codes + i * spec().code_bytes(), scales + i * spec().scale_bytes(),
               y.data() + i * coded);
  }
  if (coded > 0) {
    multiply_rows(y.data(), static_cast<int>(count), inverse_.data(), spec().head_dim, head_dim_,
                  residuals.data());
  }
  FrameAngles frames(turn_.get(), turn_ ? &one_turn_ : nullptr);
  for (std::size_t i = 0; i < count; ++i) {
    float* row = residuals.data() + i * dim;
    shift(row, turn_ ? places[i].position - places[i].frame_start : 0, 1);
    if (turn_) turn_->forwards(frames.at(places[i].frame_start), row, row);
  }
  std::copy_n(residuals.data(), count * dim, rows);
}

}  // namespace veloxquant
