// Lloyd's two conditions as equations, c_i = mean of the cell between the midpoints around c_i, solved by
// Newton's method. A cell's mean depends on its own centroid and its two neighbours, so that a step is one
// tridiagonal solve; from the start below ten steps reach rounding error, where Lloyd's own iteration would
// need thousands.
#include <veloxquant/codebook/lloyd_max.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include <veloxquant/core/error.hpp>

#include "codebook/scalar_table.hpp"
#include "transform/head_dim.hpp"

namespace veloxquant {
namespace {

// Quantiles of the density f^(1/3), which the centroids of an optimal quantizer follow as their number grows
// (Panter and Dite 1951).
std::vector<double> start(const Density& density, std::size_t count) {
  constexpr int kSteps = 8192;
  const double width = std::min(density.reach(), 8.0) / kSteps;
  std::vector<double> sum(kSteps + 1, 0.0);
  for (int i = 0; i < kSteps; ++i) sum[i + 1] = sum[i] + std::cbrt(density.value((i + 0.5) * width));
  std::vector<double> half;
  std::size_t at = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double target = sum.back() * (static_cast<double>(i) + 0.5) / static_cast<double>(count);
    while (sum[at + 1] < target) ++at;
    half.push_back(width * (static_cast<double>(at) + (target - sum[at]) / (sum[at + 1] - sum[at])));
  }
  return half;
}

// The rows of the linear system for one step: lower * step[i-1] + diagonal * step[i] + upper * step[i+1] =
// right.
struct Row {
  double lower, diagonal, upper, right;
};

std::vector<Row> linearize(const Density& density, const std::vector<double>& half) {
  std::vector<Row> rows;
  double begin = 0;
  Density::Integral before;
  for (std::size_t i = 0; i < half.size(); ++i) {
    const bool first = i == 0, last = i + 1 == half.size();
    const double end = last ? density.reach() : 0.5 * (half[i] + half[i + 1]);
    const auto upto = density.up_to(end);
    const double mass = upto.mass - before.mass, mean = (upto.moment - before.moment) / mass;
    // How the mean moves with each neighbour's centroid: a threshold moves half as far.
    const double left = first ? 0 : 0.5 * density.value(begin) * (mean - begin) / mass;
    const double right = last ? 0 : 0.5 * density.value(end) * (end - mean) / mass;
    rows.push_back({-left, 1 - left - right, -right, mean - half[i]});
    begin = end;
    before = upto;
  }
  return rows;
}

std::vector<double> solve(std::vector<Row> rows) {
  for (std::size_t i = 1; i < rows.size(); ++i) {
    const double factor = rows[i].lower / rows[i - 1].diagonal;
    rows[i].diagonal -= factor * rows[i - 1].upper;
    rows[i].right -= factor * rows[i - 1].right;
  }
  std::vector<double> step(rows.size());
  for (std::size_t i = rows.size(); i-- > 0;) {
    const double behind = i + 1 < rows.size() ? rows[i].upper * step[i + 1] : 0;
    step[i] = (rows[i].right - behind) / rows[i].diagonal;
  }
  return step;
}

std::vector<double> lloyd_max(const Density& density, int bits) {
  std::vector<double> half = start(density, std::size_t{1} << (bits - 1));
  for (int iteration = 0; iteration < 40; ++iteration) {
    const std::vector<double> step = solve(linearize(density, half));
    double largest = 0;
    for (std::size_t i = 0; i < half.size(); ++i) {
      half[i] += step[i];
      largest = std::max(largest, std::fabs(step[i]));
    }
    if (largest < 1e-12) break;
  }
  return half;
}

}  // namespace

std::shared_ptr<const ScalarTable> lloyd_max_table(int bits, int head_dim) {
  if (bits < 1 || bits > 8)
    throw ConfigError("Lloyd-Max codebook", fmt::format("bits is {}, but must be from 1 to 8", bits));
  if (head_dim != 0 && (head_dim < 2 || head_dim > kMaxHeadDim))
    throw ConfigError("Lloyd-Max codebook",
                      fmt::format("head_dim is {}, but must be from 2 to {}, or 0 for the "
                                  "normal distribution",
                                  head_dim, kMaxHeadDim));
  static std::mutex mutex;
  static std::map<std::pair<int, int>, std::shared_ptr<const ScalarTable>> solved;
  const std::scoped_lock lock(mutex);
  auto& table = solved[{bits, head_dim}];
  if (!table) {
    const Density density(head_dim);
    table = std::make_shared<const ScalarTable>(lloyd_max(density, bits), density);
  }
  return table;
}

LloydMaxCodebook::LloydMaxCodebook(int bits, int head_dim)
    : ScalarCodebook(lloyd_max_table(bits, head_dim)) {}

}  // namespace veloxquant
