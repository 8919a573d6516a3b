#include "codebook/grid_search.hpp"

#include <algorithm>
#include <cmath>

#include "codebook/row_math.hpp"
#include "core/dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codebook/grid_search.cpp"
#define HWY_WANT_AVX3_DL
// As the other codes' searches: Arm CPUs with vectors of unknown length run the NEON code.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef VELOXQUANT_GRID_SUMS_ONCE
#define VELOXQUANT_GRID_SUMS_ONCE
namespace veloxquant {

// Sums over the coordinates: of k, of k (k + 1), and of k m. All are exact: k m is below 2^13 and a multiple
// of 2^-22, and there are at most 2^12 of them.
struct GridSums {
  std::int32_t levels = 0, squares = 0;
  double products = 0;
};

}  // namespace veloxquant
#endif

HWY_BEFORE_NAMESPACE();
namespace veloxquant::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// m = |z|, rounded.
void round_magnitudes(const float* z, int d, float* m) {
  const hn::CappedTag<float, 16> tag;
  const int lanes = static_cast<int>(hn::Lanes(tag));
  constexpr float kUnits = 0x1p22f;
  int c = 0;
  for (; c + lanes <= d; c += lanes) {
    const auto units = hn::Round(hn::Mul(hn::Abs(hn::LoadU(tag, z + c)), hn::Set(tag, kUnits)));
    hn::StoreU(hn::Mul(units, hn::Set(tag, 1 / kUnits)), tag, m + c);
  }
  for (; c < d; ++c) m[c] = std::nearbyint(std::fabs(z[c]) * kUnits) * (1 / kUnits);
}

GridSums grid_sums(const float* m, int d, float t, int top) {
  const hn::CappedTag<double, 8> wide;
  const hn::Rebind<float, decltype(wide)> tag;
  const hn::Rebind<std::int32_t, decltype(wide)> di;
  const int lanes = static_cast<int>(hn::Lanes(wide));
  const auto scale = hn::Set(tag, t), highest = hn::Set(tag, static_cast<float>(top));
  auto levels = hn::Zero(di), squares = hn::Zero(di);
  auto products = hn::Zero(wide);
  int c = 0;
  for (; c + lanes <= d; c += lanes) {
    const auto magnitude = hn::LoadU(tag, m + c);
    const auto level = hn::ConvertTo(di, hn::Min(hn::Mul(magnitude, scale), highest));
    levels = hn::Add(levels, level);
    squares = hn::Add(squares, hn::Mul(level, hn::Add(level, hn::Set(di, 1))));
    products = hn::Add(products, hn::Mul(hn::PromoteTo(wide, level), hn::PromoteTo(wide, magnitude)));
  }
  GridSums sums{hn::GetLane(hn::SumOfLanes(di, levels)), hn::GetLane(hn::SumOfLanes(di, squares)),
                hn::GetLane(hn::SumOfLanes(wide, products))};
  for (; c < d; ++c) {
    const auto level = static_cast<std::int32_t>(std::min(m[c] * t, static_cast<float>(top)));
    sums.levels += level;
    sums.squares += level * (level + 1);
    sums.products += static_cast<double>(level) * static_cast<double>(m[c]);
  }
  return sums;
}

}  // namespace veloxquant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(round_magnitudes);
HWY_EXPORT(grid_sums);

namespace {

constexpr std::int32_t kFewSteps = 24;  // are walked rather than cut
// Float products shift a step by a relative 2^-23, and the bound by about as much.
constexpr double kMargin = 1 + 1e-6;

// No point between the two has a larger N^2 / Q, unless an end itself has.
template <class Point>
double bound_between(const Point& a, const Point& b) {
  const double slope = 0.5 / a.t, last = 0.5 / b.t;
  const double q = std::clamp((b.n - a.n + a.q * slope - b.q * last) / (slope - last), a.q, b.q);
  const double n = a.n + (q - a.q) * slope;
  return kMargin * n * n / q;
}

}  // namespace

GridSearch::GridSearch(int bits, int head_dim) : head_dim_(head_dim), top_((1 << (bits - 1)) - 1) {
  const auto d = static_cast<std::size_t>(head_dim);
  magnitudes_.resize(d);
  for (auto* levels : {&best_levels_, &begin_, &end_}) levels->resize(d);
}

GridSearch::Point GridSearch::at(float t) const {
  const GridSums sums = VELOX_DISPATCH(grid_sums)(magnitudes_.data(), head_dim_, t, top_);
  return {t, sums.levels, sums.products + half_sum_, sums.squares + 0.25 * head_dim_};
}

namespace {

void levels_at(const std::vector<float>& magnitudes, float t, int top, std::vector<std::int32_t>& levels) {
  for (std::size_t c = 0; c < magnitudes.size(); ++c)
    levels[c] = static_cast<std::int32_t>(std::min(magnitudes[c] * t, static_cast<float>(top)));
}

}  // namespace

void GridSearch::consider(const Point& point) {
  const double score = point.n * point.n / point.q;
  if (!(score > best_)) return;
  best_ = score;
  levels_at(magnitudes_, point.t, top_, best_levels_);
}

void GridSearch::walk(const Point& a, const Point& b) {
  levels_at(magnitudes_, a.t, top_, begin_);
  levels_at(magnitudes_, b.t, top_, end_);
  steps_.clear();
  for (std::int32_t c = 0; c < head_dim_; ++c) {
    const auto at = static_cast<std::size_t>(c);
    for (std::int32_t k = begin_[at] + 1; k <= end_[at]; ++k)
      steps_.push_back({static_cast<double>(k) / static_cast<double>(magnitudes_[at]), c, k});
  }
  std::sort(steps_.begin(), steps_.end(), [](const Step& x, const Step& y) {
    return x.t != y.t ? x.t < y.t : x.coordinate < y.coordinate;
  });
  double n = a.n, q = a.q;
  std::size_t taken = 0;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    n += static_cast<double>(magnitudes_[static_cast<std::size_t>(steps_[i].coordinate)]);
    q += 2.0 * steps_[i].level;
    if (n * n / q > best_) {
      best_ = n * n / q;
      taken = i + 1;
    }
  }
  if (taken == 0) return;
  best_levels_ = begin_;
  for (std::size_t i = 0; i < taken; ++i)
    best_levels_[static_cast<std::size_t>(steps_[i].coordinate)] = steps_[i].level;
}

void GridSearch::search(const Point& a, const Point& b) {
  if (a.steps == b.steps || bound_between(a, b) <= best_) return;
  const float middle = std::sqrt(a.t * b.t);
  // Steps that fall between neighbouring floats cannot be told apart by cutting.
  if (b.steps - a.steps <= kFewSteps || !(middle > a.t && middle < b.t)) return walk(a, b);
  const Point m = at(middle);
  consider(m);
  const bool left_first = bound_between(a, m) > bound_between(m, b);
  if (left_first) search(a, m);
  search(m, b);
  if (!left_first) search(a, m);
}

void GridSearch::find(const float* z, std::int32_t* levels) {
  std::fill(levels, levels + head_dim_, 0);
  if (top_ == 0) return;
  VELOX_DISPATCH(round_magnitudes)(z, head_dim_, magnitudes_.data());
  half_sum_ = 0.5 * fixed_order_sum(head_dim_, [this](int c) {
                return static_cast<double>(magnitudes_[static_cast<std::size_t>(c)]);
              });
  if (half_sum_ == 0) return;
  float largest = 0, least = 0;
  for (const float m : magnitudes_) {
    largest = std::max(largest, m);
    if (m > 0 && (least == 0 || m < least)) least = m;
  }
  // No step has been taken at the first t, and all at the last. In between, the largest coordinate reaches
  // the end of the grid, near which the best point mostly is.
  const Point first = at(0.5f / largest), last = at(1.000001f * static_cast<float>(top_) / least);
  const Point likely = at((static_cast<float>(top_) + 0.5f) / largest);
  best_ = 0;
  for (const Point& point : {likely, first, last}) consider(point);
  search(first, likely);
  search(likely, last);
  std::copy(best_levels_.begin(), best_levels_.end(), levels);
}

}  // namespace veloxquant
#endif
