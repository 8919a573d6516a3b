#include "search/k_means.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "transform/random.hpp"

namespace veloxquant {
namespace {

// In eight partial sums, which compilers make a vector of.
float squared_distance(const float* a, const float* b, std::size_t dims) {
  float sums[8] = {};
  std::size_t c = 0;
  for (; c + 8 <= dims; c += 8)
    for (std::size_t lane = 0; lane < 8; ++lane)
      sums[lane] += (a[c + lane] - b[c + lane]) * (a[c + lane] - b[c + lane]);
  for (std::size_t lane = 0; c + lane < dims; ++lane)
    sums[lane] += (a[c + lane] - b[c + lane]) * (a[c + lane] - b[c + lane]);
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

// The squared distance of every row from the nearest centre, and their sum.
struct Distances {
  std::vector<float> of_rows;
  double total = 0;

  // With one more centre.
  Distances with(const float* rows, const float* centre, std::size_t dims) const {
    Distances more{of_rows};
    for (std::size_t i = 0; i < of_rows.size(); ++i) {
      more.of_rows[i] = std::min(of_rows[i], squared_distance(rows + i * dims, centre, dims));
      more.total += static_cast<double>(more.of_rows[i]);
    }
    return more;
  }
  // A row, with a probability in proportion to its distance.
  std::size_t draw(SplitMix64& random) const {
    double left = 0.5 * (random.symmetric() + 1) * total;
    std::size_t i = 0;
    for (; i + 1 < of_rows.size(); ++i) {
      left -= static_cast<double>(of_rows[i]);
      if (left < 0) break;
    }
    return i;
  }
};

// Each further centre is the best of some rows so drawn: in many dimensions one alone often doubles a centre.
std::vector<float> spread_rows(const float* rows, std::size_t row_count, std::size_t dims, std::size_t count,
                               std::uint64_t seed) {
  constexpr int kTrials = 6;
  SplitMix64 random(seed);
  const float* centre = rows + random.next() % row_count * dims;
  Distances distances =
      Distances{std::vector<float>(row_count, std::numeric_limits<float>::max())}.with(rows, centre, dims);
  std::vector<float> centres(centre, centre + dims);
  while (centres.size() < count * dims) {
    Distances best;
    for (int trial = 0; trial < kTrials; ++trial) {
      const float* drawn = rows + distances.draw(random) * dims;
      Distances now = distances.with(rows, drawn, dims);
      if (trial > 0 && !(now.total < best.total)) continue;
      best = std::move(now);
      centre = drawn;
    }
    centres.insert(centres.end(), centre, centre + dims);
    distances = std::move(best);
  }
  return centres;
}

// Every centre is moved to the mean of its rows.
void move_centres(const float* rows, const std::vector<std::uint8_t>& nearest, std::size_t dims,
                  std::vector<float>& centres) {
  const std::size_t count = centres.size() / dims;
  std::vector<double> sums(centres.size());
  std::vector<double> members(count);
  for (std::size_t i = 0; i < nearest.size(); ++i) {
    ++members[nearest[i]];
    double* sum = sums.data() + nearest[i] * dims;
    for (std::size_t c = 0; c < dims; ++c) sum[c] += static_cast<double>(rows[i * dims + c]);
  }
  for (std::size_t j = 0; j < count; ++j) {
    if (members[j] == 0) continue;
    for (std::size_t c = 0; c < dims; ++c)
      centres[j * dims + c] = static_cast<float>(sums[j * dims + c] / members[j]);
  }
}

}  // namespace

std::vector<std::uint8_t> nearest_centres(const float* rows, std::size_t row_count, int dims,
                                          const std::vector<float>& centres) {
  const auto d = static_cast<std::size_t>(dims);
  const std::size_t count = centres.size() / d;
  // By coordinate, so that the distances from all centres grow side by side.
  std::vector<float> by_coordinate(centres.size()), distances(count);
  for (std::size_t j = 0; j < count; ++j)
    for (std::size_t c = 0; c < d; ++c) by_coordinate[c * count + j] = centres[j * d + c];
  std::vector<std::uint8_t> nearest(row_count);
  for (std::size_t i = 0; i < row_count; ++i) {
    std::fill(distances.begin(), distances.end(), 0.0f);
    for (std::size_t c = 0; c < d; ++c) {
      const float x = rows[i * d + c], *centre = by_coordinate.data() + c * count;
      for (std::size_t j = 0; j < count; ++j) distances[j] += (x - centre[j]) * (x - centre[j]);
    }
    nearest[i] =
        static_cast<std::uint8_t>(std::min_element(distances.begin(), distances.end()) - distances.begin());
  }
  return nearest;
}

std::vector<float> k_means(const float* rows, std::size_t row_count, int dims, int count,
                           std::uint64_t seed) {
  constexpr int kRounds = 25;
  const auto d = static_cast<std::size_t>(dims);
  std::vector<float> centres = spread_rows(rows, row_count, d, static_cast<std::size_t>(count), seed);
  std::vector<std::uint8_t> nearest;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<std::uint8_t> now = nearest_centres(rows, row_count, dims, centres);
    if (now == nearest) break;
    nearest = std::move(now);
    move_centres(rows, nearest, d, centres);
  }
  return centres;
}

}  // namespace veloxquant
