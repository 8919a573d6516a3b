#include "quantizers/spectral_head.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "linalg/matrix_vector.hpp"
#include "transform/turn_words.hpp"

namespace veloxquant {
namespace {

constexpr std::int64_t kMeanTable = 1024;

std::size_t as_size(int n) { return static_cast<std::size_t>(n); }

// The angles of the start of the frame that the thread coded last: the tokens of a frame mostly come one at a
// time, head after head and layer after layer, and sines take as long as the product with the basis.
const TurnAngles& coded_angles(const RopeTurn& turn, std::int64_t start) {
  struct Last {
    std::vector<RopeTurn::Pair> pairs;
    std::int64_t start = -1;
    TurnAngles angles;
  };
  thread_local Last last;
  if (last.start != start || last.pairs != turn.pairs()) last = {turn.pairs(), start, turn.angles(start)};
  return last.angles;
}

// The angles of the frames' starts, made again only when another frame begins. With the angles of one
// position they are advanced from the nearest multiple of kAnchor below, which takes a tenth of the time, is
// exact to rounding, and depends on the position alone.
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
      code_(make_mixed_code(runs, gain && !runs.empty(), {basis.lambda, as_size(basis.head_dim)})),
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
  const std::vector<CodedMoments> moments = coded_moments(runs, {basis.lambda, dim});
  // Coordinates without any variance are noise, which must not be blown up to the size of the others.
  const float least = std::max(1e-10f * basis.lambda[0], 1e-30f);
  forward_.resize(dim * columns);
  inverse_.resize(coded * padded);
  for (std::size_t c = 0; c < coded; ++c) {
    const float sigma = std::sqrt(std::max(basis.lambda[c], least));
    // The scores that keys give must not shrink.
    const double factor = turn_ ? moments[c].unbiased() : moments[c].nearest();
    const float back = sigma * static_cast<float>(factor);
    for (std::size_t i = 0; i < dim; ++i) {
      forward_[i * columns + c] = basis.forward[c * dim + i] / sigma;
      inverse_[c * padded + i] = basis.inverse[c * dim + i] * back;
    }
  }
  if (turn_) one_turn_ = turn_->angles(1);
  if (turn_ == nullptr || !readable()) return;
  make_query_matrix();
  std::vector<float> even = inverse_;  // a row of zeros where their number is odd
  even.resize(as_size(coded_dim() + coded_dim() % 2) * padded);
  inverse_words_ = WordMatrix(even.data(), coded_dim() + coded_dim() % 2, head_dim_);
  frame_turn_ = turn_->angles(frame_);
}

void SpectralHead::make_query_matrix() {
  const std::size_t dim = as_size(head_dim_), coded = as_size(coded_dim());
  const std::size_t padded = as_size(padded_columns(head_dim_)),
                    columns = as_size(padded_columns(coded_dim()));
  const std::size_t places = static_cast<std::size_t>(frame_),
                    stride = columns + as_size(padded_columns(static_cast<int>(frame_)));
  query_matrix_.resize(dim * stride);
  for (std::size_t i = 0; i < dim; ++i) {
    float* row = query_matrix_.data() + i * stride;
    for (std::size_t c = 0; c < coded; ++c) row[c] = inverse_[c * padded + i];
    for (std::size_t t = 0; t < places; ++t) row[columns + t] = means_[t * dim + i];
  }
  std::vector<float> by_pair;
  for (const RopeTurn::Pair& pair : turn_->pairs()) {
    for (const int i : {pair.first, pair.second}) {
      const float* row = query_matrix_.data() + as_size(i) * stride;
      by_pair.insert(by_pair.end(), row, row + stride);
    }
  }
  query_words_ = WordMatrix(by_pair.data(), head_dim_, static_cast<int>(stride));
}

void SpectralHead::key_row(int i, float* row) const {
  const std::size_t padded = as_size(padded_columns(head_dim_));
  for (std::size_t c = 0; c < as_size(coded_dim()); ++c) row[c] = inverse_[c * padded + as_size(i)];
}

void SpectralHead::turn_to(std::int64_t start, FramedQueries& seen) const {
  // Steps add up their rounding, so that now and then the angles are made anew.
  constexpr std::int64_t kSteps = 32;
  if (seen.start >= 0 && start == seen.start + frame_ && start / frame_ % kSteps != 0) {
    RopeTurn::advance(seen.angles, frame_turn_);
  } else if (start != seen.start) {
    seen.angles = turn_->angles(start);
  }
  seen.start = start;
}

void SpectralHead::turn_queries(const float* queries, int rows, std::span<const std::int64_t> starts,
                                FrameProducts products, FramedQueries& seen) const {
  const std::size_t dim = as_size(head_dim_), count = as_size(rows), pairs = dim / 2;
  seen.rows = count;
  seen.stride = query_words_.stride();
  seen.means = as_size(padded_columns(coded_dim()));
  seen.seen.resize(starts.size() * count * seen.stride);
  seen.turned.resize(count * dim);
  if (products == FrameProducts::f32) {
    float* out = seen.seen.data();
    for (const std::int64_t start : starts) {
      turn_to(start, seen);
      for (std::size_t r = 0; r < count; ++r)
        turn_->back(seen.angles, queries + r * dim, seen.turned.data() + r * dim);
      multiply_rows(seen.turned.data(), rows, query_matrix_.data(), head_dim_, static_cast<int>(seen.stride),
                    out);
      out += count * seen.stride;
    }
    return;
  }
  seen.words.resize(starts.size() * count * pairs);
  seen.steps.resize(starts.size() * count);
  float *firsts = seen.turned.data(), *seconds = firsts + count * pairs;
  for (std::size_t r = 0; r < count; ++r) {
    const float* query = queries + r * dim;
    float squares = 0;
    for (std::size_t i = 0; i < dim; ++i) squares += query[i] * query[i];
    const float norm = std::sqrt(squares), scale = norm > 1e-30f ? kWordNorm / norm : 0.0f;
    for (std::size_t p = 0; p < pairs; ++p) {
      firsts[r * pairs + p] = scale * query[turn_->pairs()[p].first];
      seconds[r * pairs + p] = scale * query[turn_->pairs()[p].second];
    }
    for (std::size_t f = 0; f < starts.size(); ++f) seen.steps[f * count + r] = norm / kWordNorm;
  }
  for (std::size_t f = 0; f < starts.size(); ++f) {
    turn_to(starts[f], seen);
    turn_back_to_words(seen.angles, firsts, seconds, rows, seen.words.data() + f * count * pairs);
  }
  query_words_.multiply(seen.words.data(), seen.steps.data(), static_cast<int>(starts.size() * count),
                        seen.seen.data());
}

void SpectralHead::restore_keys(const float* coded, const TokenPlace* places, std::size_t count,
                                FrameProducts products, float* rows) const {
  const std::size_t dim = as_size(head_dim_);
  thread_local std::vector<float> residuals, steps;
  thread_local std::vector<std::int32_t> words;
  residuals.resize(count * std::max(dim, inverse_words_.stride()) + kMatrixPad);
  std::size_t stride = dim;
  if (products == FrameProducts::words) {
    words.resize(count * inverse_words_.pairs());
    steps.resize(count);
    inverse_words_.round_rows(coded, coded_dim(), static_cast<int>(count), words.data(), steps.data());
    inverse_words_.multiply(words.data(), steps.data(), static_cast<int>(count), residuals.data());
    stride = inverse_words_.stride();
  } else {
    multiply_rows(coded, static_cast<int>(count), inverse_.data(), coded_dim(), head_dim_, residuals.data());
  }
  FrameAngles frames(turn_.get(), &one_turn_);
  for (std::size_t i = 0; i < count; ++i) {
    float* row = residuals.data() + i * stride;
    shift(row, places[i].position - places[i].frame_start, 1);
    turn_->forwards(frames.at(places[i].frame_start), row, rows + i * dim);
  }
}

void SpectralHead::restore_sums(const float* coded, const float* weights, std::size_t count,
                                float* out) const {
  const std::size_t dim = as_size(head_dim_);
  thread_local std::vector<float> sums;
  sums.resize(count * dim + kMatrixPad);
  multiply_rows(coded, static_cast<int>(count), inverse_.data(), coded_dim(), head_dim_, sums.data());
  for (std::size_t r = 0; r < count; ++r) {
    for (std::size_t i = 0; i < dim; ++i) out[r * dim + i] = sums[r * dim + i] + weights[r] * means_[i];
  }
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
  thread_local std::vector<float> residuals, z;
  residuals.assign(rows, rows + count * dim);
  z.resize(count * coded + kMatrixPad);
  for (std::size_t i = 0; i < count; ++i) {
    float* row = residuals.data() + i * dim;
    if (turn_) turn_->back(coded_angles(*turn_, places[i].frame_start), row, row);
    shift(row, turn_ ? places[i].position - places[i].frame_start : 0, -1);
  }
  multiply_rows(residuals.data(), static_cast<int>(count), forward_.data(), head_dim_, spec().head_dim,
                z.data());
  code_->encode_rows(z.data(), count, codes, scales);
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
