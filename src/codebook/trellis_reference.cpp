// The search of trellis_encode.cpp, one window at a time.
#include <algorithm>
#include <cmath>
#include <vector>

#include "codebook/trellis_search.hpp"

namespace veloxquant {
namespace {

// Entry g belongs to the paths whose last window has the high bits g, which are the low bits of the next
// window.
using Metrics = std::vector<std::uint16_t>;

int quantize(float z) {
  if (std::isnan(z)) return 0;
  const float limit = static_cast<float>(trellis::kLimit);
  return static_cast<int>(std::nearbyint(std::clamp(z * trellis::kScale, -limit, limit)));
}

int branch_cost(int bits, int x, int value) {
  const int difference = x - value;
  const int slope = bits == trellis::kSharpBits ? std::clamp(2 * difference, -0x8000, 0x7FFF) : difference;
  return (difference * slope + (1 << 14)) >> 15;
}

int first_lowest(const Metrics& metrics) {
  return static_cast<int>(std::min_element(metrics.begin(), metrics.end()) - metrics.begin());
}

class Search {
 public:
  Search(const TrellisTable& table, const std::vector<int>& x)
      : table_(table), bits_(table.bits), groups_(256 >> bits_), x_(x), n_(static_cast<int>(x.size())) {}

  // The windows of the code.
  std::vector<int> best_cycle() {
    if (n_ < trellis::kSeamFrom) return best_of_all_seams();
    const int seam = find_seam();
    run_cycle(seam);
    return path_into(seam);
  }

 private:
  // The group in which a free run over both sides of the seam crosses it.
  int find_seam() {
    const int reach = trellis::seam_reach(bits_);
    Metrics metrics = uniform_metrics(0);
    run(trellis::seam_run_start(bits_, n_), 2 * reach, metrics);
    return path_into(first_lowest(metrics))[static_cast<std::size_t>(reach - 1)] >> bits_;
  }

  // In the order of the lower bounds that two free laps give, until the bound reaches the lowest cost.
  std::vector<int> best_of_all_seams() {
    Metrics first = uniform_metrics(0);
    const std::uint32_t of_first = run(0, n_, first);
    Metrics bounds = first;
    const std::uint32_t of_second = run(0, n_, bounds);
    const std::uint32_t base =
        trellis::join_bounds(first.data(), of_first, bounds.data(), of_second, groups_);
    std::uint32_t lowest_cost = ~0U;
    std::vector<int> path;
    for (int tried = 0; tried < groups_; ++tried) {
      const int group = first_lowest(bounds);
      std::uint16_t& bound = bounds[static_cast<std::size_t>(group)];
      if (base + bound >= lowest_cost) break;
      bound = trellis::kUnreachable;
      const std::uint32_t cost = run_cycle(group);
      if (cost >= lowest_cost) continue;
      lowest_cost = cost;
      path = path_into(group);
    }
    return path;
  }

  Metrics uniform_metrics(std::uint16_t metric) const {
    return Metrics(static_cast<std::size_t>(groups_), metric);
  }

  // Runs over the paths that leave `group`; returns the cost of the best that comes back to it.
  std::uint32_t run_cycle(int group) {
    Metrics metrics = uniform_metrics(trellis::kUnreachable);
    metrics[static_cast<std::size_t>(group)] = 0;
    const std::uint32_t subtracted = run(0, n_, metrics);
    return subtracted + metrics[static_cast<std::size_t>(group)];
  }

  // Runs over `count` elements from `first` on, modulo n. Metrics go in as they are before the first element
  // and come out as they are after the last, less the number returned.
  std::uint32_t run(int first, int count, Metrics& metrics) {
    window_.assign(static_cast<std::size_t>(count), std::vector<int>(metrics.size()));
    std::uint32_t subtracted = 0;
    for (int i = 0; i < count; ++i) {
      advance(x_[static_cast<std::size_t>((first + i) % n_)], metrics, window_[static_cast<std::size_t>(i)]);
      if ((i + 1) % trellis::kRenormalizeEvery != 0) continue;
      const std::uint16_t least = *std::min_element(metrics.begin(), metrics.end());
      for (std::uint16_t& metric : metrics) metric = static_cast<std::uint16_t>(metric - least);
      subtracted += least;
    }
    return subtracted;
  }

  void advance(int x, Metrics& metrics, std::vector<int>& winner) const {
    Metrics next(metrics.size());
    for (int w = 0; w < 256; ++w) {
      const int before = metrics[static_cast<std::size_t>(w % groups_)];
      const int value = table_.values[static_cast<std::size_t>(w)];
      const int cost = std::min(before + branch_cost(bits_, x, value), 0xFFFF);
      const auto group = static_cast<std::size_t>(w >> bits_);
      const bool first_of_group = w % (1 << bits_) == 0;
      if (first_of_group || cost < next[group]) {
        next[group] = static_cast<std::uint16_t>(cost);
        winner[group] = w;
      }
    }
    metrics = next;
  }

  // The windows of the last run's best path into `group`.
  std::vector<int> path_into(int group) const {
    std::vector<int> path(window_.size());
    for (std::size_t i = path.size(); i-- > 0;) {
      path[i] = window_[i][static_cast<std::size_t>(group)];
      group = path[i] % groups_;
    }
    return path;
  }

  const TrellisTable& table_;
  int bits_;
  int groups_;
  const std::vector<int>& x_;
  int n_;
  std::vector<std::vector<int>>
      window_;  // by element of the last run and group: the last window of the best path
};

}  // namespace

void trellis_encode_reference(const TrellisTable& table, const float* z, int n, std::uint8_t* codes) {
  trellis::check_bits("trellis_encode_reference", table.bits);
  trellis::check_length("trellis_encode_reference", n);
  std::vector<int> x(static_cast<std::size_t>(n));
  std::transform(z, z + n, x.begin(), quantize);
  std::fill(codes, codes + trellis_code_bytes(n, table.bits), std::uint8_t{0});
  int at = 0;
  for (const int window : Search(table, x).best_cycle()) {
    for (int i = 0; i < table.bits; ++i, ++at) {
      codes[at / 8] = static_cast<std::uint8_t>(codes[at / 8] | (window >> i & 1) << at % 8);
    }
  }
}

}  // namespace veloxquant
