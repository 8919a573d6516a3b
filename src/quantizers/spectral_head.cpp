#include "quantizers/spectral_head.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "linalg/matrix_vector.hpp"

namespace veloxquant {
namespace {

constexpr std::int64_t kMeanTable = 1024;

std::size_t as_size(int n) { return static_cast<std::size_t>(n); }

// The angles of the frames' starts, made again only when another frame begins.
class FrameAngles {
 public:
  explicit FrameAngles(const RopeTurn* turn) : turn_(turn) {}
  const TurnAngles& at(std::int64_t start) {
    if (start != start_) angles_ = turn_->angles(start_ = start);
    return angles_;
  }

 private:
  const RopeTurn* turn_;
  std::int64_t start_ = -1;
  TurnAngles angles_;
};

}  // namespace

SpectralHead::SpectralHead(const SpectralBasis& basis, std::span<const RunPlan> runs, bool gain,
                           std::shared_ptr<const RopeTurn> turn, std::int64_t frame)
    : head_dim_(basis.head_dim),
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
}

void SpectralHead::shift(float* row, const TokenPlace* place, float sign) const {
  std::vector<float> turned;
  const std::size_t dim = as_size(head_dim_);
  const auto t = turn_ ? static_cast<std::size_t>(place->position - place->frame_start) : 0;
  const float* mean = means_.data() + t * dim;
  if (t >= means_.size() / dim) {
    turned.resize(dim);
    turn_->forwards(turn_->angles(static_cast<std::int64_t>(t)), means_.data(), turned.data());
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
    shift(row, places + i, -1);
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
  FrameAngles frames(turn_.get());
  for (std::size_t i = 0; i < count; ++i) {
    float* row = residuals.data() + i * dim;
    shift(row, places + i, 1);
    if (turn_) turn_->forwards(frames.at(places[i].frame_start), row, row);
  }
  std::copy_n(residuals.data(), count * dim, rows);
}

}  // namespace veloxquant
