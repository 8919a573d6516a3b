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

std::uint16_t branch_cost(int bits, int x, int value) {
  const int difference = x - value;
  const int slope = bits == trellis::kSharpBits ? std::clamp(2 * difference, -0x8000, 0x7FFF) : difference;
  return static_cast<std::uint16_t>((difference * slope + (1 << 14)) >> 15);
}

class Search {
 public:
  Search(const TrellisTable& table, const std::vector<int>& x)
      : table_(table), bits_(table.bits), groups_(256 >> bits_), x_(x) {}

  // Runs over `count` elements from `first` on, modulo n; `metrics` go in before the first and come out after
  // the last.
  void run(int first, int count, Metrics& metrics) {
    window_.assign(static_cast<std::size_t>(count), std::vector<int>(metrics.size()));
    for (int i = 0; i < count; ++i) {
      advance(x_[static_cast<std::size_t>(first + i) % x_.size()], metrics,
              window_[static_cast<std::size_t>(i)]);
      if ((i + 1) % trellis::kRenormalizeEvery == 0) {
        const std::uint16_t least = *std::min_element(metrics.begin(), metrics.end());
        for (std::uint16_t& metric : metrics) metric = static_cast<std::uint16_t>(metric - least);
      }
    }
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

 private:
  void advance(int x, Metrics& metrics, std::vector<int>& winner) const {
    Metrics next(metrics.size());
    for (int w = 0; w < 256; ++w) {
      const int before = metrics[static_cast<std::size_t>(w % groups_)];
      const int cost =
          std::min(before + branch_cost(bits_, x, table_.values[static_cast<std::size_t>(w)]), 0xFFFF);
      const auto group = static_cast<std::size_t>(w >> bits_);
      const bool first_of_group = w % (1 << bits_) == 0;
      if (first_of_group || cost < next[group]) {
        next[group] = static_cast<std::uint16_t>(cost);
        winner[group] = w;
      }
    }
    metrics = next;
  }

  const TrellisTable& table_;
  int bits_;
  int groups_;
  const std::vector<int>& x_;
  std::vector<std::vector<int>> window_;  // by element and group: the last window of the best path
};

}  // namespace

void trellis_encode_reference(const TrellisTable& table, const float* z, int n, std::uint8_t* codes) {
  trellis::check_bits("trellis_encode_reference", table.bits);
  trellis::check_length("trellis_encode_reference", n);
  std::vector<int> x(static_cast<std::size_t>(n));
  std::transform(z, z + n, x.begin(), quantize);
  Search search(table, x);

  const int reach = trellis::seam_reach(table.bits, n);
  Metrics metrics(static_cast<std::size_t>(256 >> table.bits), 0);
  search.run(n - reach, 2 * reach, metrics);
  const auto best = std::min_element(metrics.begin(), metrics.end()) - metrics.begin();
  const int seam =
      search.path_into(static_cast<int>(best))[static_cast<std::size_t>(reach - 1)] >> table.bits;

  std::fill(metrics.begin(), metrics.end(), trellis::kUnreachable);
  metrics[static_cast<std::size_t>(seam)] = 0;
  search.run(0, n, metrics);
  std::fill(codes, codes + trellis_code_bytes(n, table.bits), std::uint8_t{0});
  int at = 0;
  for (const int window : search.path_into(seam)) {
    for (int i = 0; i < table.bits; ++i, ++at) {
      codes[at / 8] = static_cast<std::uint8_t>(codes[at / 8] | (window >> i & 1) << at % 8);
    }
  }
}

}  // namespace veloxquant
