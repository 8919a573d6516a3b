#include "codebook/scalar_table.hpp"

#include <bit>
#include <limits>

namespace veloxquant {
namespace {

// E(x - y)^2 over both halves: E x^2 = 1, and E x y and E y^2 are sums over the cells.
double distortion_of(const std::vector<float>& half, const Density& density) {
  double error = 1;
  Density::Integral before;
  for (std::size_t i = 0; i < half.size(); ++i) {
    const double c = half[i];
    const double end = i + 1 < half.size() ? 0.5 * (c + half[i + 1]) : density.reach();
    const auto upto = density.up_to(end);
    error += 2 * (c * c * (upto.mass - before.mass) - 2 * c * (upto.moment - before.moment));
    before = upto;
  }
  return error;
}

}  // namespace

ScalarTable::ScalarTable(std::vector<double> half, const Density& density)
    : bits(static_cast<int>(std::bit_width(half.size()))), half_count(static_cast<unsigned>(half.size())) {
  std::vector<float> positive, all;
  for (const double c : half) positive.push_back(static_cast<float>(std::round(c * 0x1p20) * 0x1p-20));
  for (std::size_t i = half.size(); i-- > 0;) all.push_back(-positive[i]);
  all.insert(all.end(), positive.begin(), positive.end());

  for (std::size_t i = 0; i + 1 < all.size(); ++i) thresholds.push_back(0.5f * (all[i] + all[i + 1]));
  levels.assign(thresholds.begin() + half_count, thresholds.end());
  levels.push_back(std::numeric_limits<float>::infinity());
  distortion = distortion_of(positive, density);
  centroids = std::make_shared<const std::vector<float>>(std::move(all));
  cut_cells();
  if (half_count <= 8) fill_registers();
}

void ScalarTable::fill_registers() {
  for (std::size_t i = 0; i < half_count; ++i) positive_values[i] = (*centroids)[half_count + i];
  for (std::size_t i = 0; i < halvings.size(); ++i) {
    const std::size_t step = std::size_t{4} >> i;
    if (step >= half_count) continue;
    for (std::size_t level = 0; level < half_count; level += 2 * step)
      halvings[i][level] = levels[level + step - 1];
  }
}

void ScalarTable::cut_cells() {
  const std::size_t count = levels.size() - 1;
  for (std::size_t i = 0; i + 1 < count; ++i)
    while (static_cast<int>(levels[i] * cells_per_unit) == static_cast<int>(levels[i + 1] * cells_per_unit))
      cells_per_unit *= 2;
  const int last = count == 0 ? 0 : static_cast<int>(levels[count - 1] * cells_per_unit) + 1;
  last_cell = static_cast<float>(last);
  unsigned level = 0;
  for (int cell = 0; cell <= last; ++cell) {
    while (levels[level] < static_cast<float>(cell) / cells_per_unit) ++level;
    first_level.push_back(static_cast<std::uint8_t>(level));
  }
}

}  // namespace veloxquant
