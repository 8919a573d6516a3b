#include <veloxquant/codebook/uniform.hpp>

#include <array>
#include <mutex>

#include <fmt/format.h>

#include <veloxquant/core/error.hpp>

#include "codebook/scalar_table.hpp"

namespace veloxquant {
namespace {

// Half the derivative of the squared error by the step, over one half of the axis. Thresholds are midpoints,
// so moving them changes nothing to first order; with y = k * step only sum of k (k * step * mass - moment)
// is left.
double slope(const Density& density, int half_count, double step) {
  double sum = 0;
  Density::Integral before;
  for (int i = 0; i < half_count; ++i) {
    const auto upto = density.up_to(i + 1 < half_count ? (i + 1) * step : density.reach());
    const double k = i + 0.5;
    sum += k * (k * step * (upto.mass - before.mass) - (upto.moment - before.moment));
    before = upto;
  }
  return sum;
}

std::shared_ptr<const ScalarTable> solve(int bits) {
  const Density normal(0);
  const int half_count = 1 << (bits - 1);
  double low = 0x1p-8, high = 2;
  for (int i = 0; i < 50; ++i) {
    const double middle = 0.5 * (low + high);
    (slope(normal, half_count, middle) < 0 ? low : high) = middle;
  }
  // An even multiple of the grid of the centroids, which then keep equal distances after rounding.
  const double step = std::round(low * 0x1p19) * 0x1p-19;
  std::vector<double> half;
  for (int i = 0; i < half_count; ++i) half.push_back((i + 0.5) * step);
  return std::make_shared<const ScalarTable>(std::move(half), normal);
}

}  // namespace

std::shared_ptr<const ScalarTable> uniform_table(int bits) {
  if (bits < 1 || bits > 8)
    throw ConfigError("uniform codebook", fmt::format("bits is {}, but must be from 1 to 8", bits));
  static std::mutex mutex;
  static std::array<std::shared_ptr<const ScalarTable>, 9> solved;
  const std::scoped_lock lock(mutex);
  auto& table = solved[static_cast<std::size_t>(bits)];
  if (!table) table = solve(bits);
  return table;
}

UniformCodebook::UniformCodebook(int bits) : ScalarCodebook(uniform_table(bits)) {}

}  // namespace veloxquant
