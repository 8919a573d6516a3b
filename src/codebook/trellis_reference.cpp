// The search of trellis_encode.cpp, one window at a time.
#include <algorithm>
#include <cmath>
#include <vector>

#include "codebook/trellis_search.hpp"

namespace veloxquant {
namespace {

using trellis::Piece;

// Entry g belongs to the paths whose last window has the high bits g, which are the low bits of the next
// window.
using Metrics = std::vector<std::uint16_t>;

int groups_of(int bits) { return 256 >> bits; }

int quantize(float z, int bits) {
  if (std::isnan(z)) return 0;
  const float limit = static_cast<float>(trellis::search_limit(bits));
  return static_cast<int>(std::nearbyint(std::clamp(z * trellis::search_scale(bits), -limit, limit)));
}

int branch_cost(int bits, int x, int value) {
  const int difference =
      std::clamp(x - trellis::search_value(bits, value), -trellis::kMostDifference, trellis::kMostDifference);
  return (difference * difference + (1 << 14)) >> 15;
}

int first_lowest(const Metrics& metrics) {
  return static_cast<int>(std::min_element(metrics.begin(), metrics.end()) - metrics.begin());
}

class Search {
 public:
  Search(TrellisRuns runs, const float* z)
      : start_(trellis::first_searched(runs)), runs_(runs.begin(), runs.end()) {
    x_.resize(runs.size());
    for (std::size_t r = 0; r < runs.size(); ++r) {
      for (int t = 0; t < runs[r].count; ++t) x_[r].push_back(quantize(*z++, runs[r].table->bits));
    }
    const auto start = static_cast<std::ptrdiff_t>(start_);
    std::rotate(runs_.begin(), runs_.begin() + start, runs_.end());
    std::rotate(x_.begin(), x_.begin() + start, x_.end());
    for (std::size_t r = 0; r < runs.size(); ++r) whole_.push_back({r, 0, runs_[r].count});
  }

  // The windows of each run, in the order of the search.
  std::vector<std::vector<int>> best_cycle() {
    if (trellis_length(runs_) < trellis::kSeamFrom) return best_of_all_seams();
    const int seam = find_seam();
    run_cycle(seam);
    return path_into(seam);
  }

  std::size_t start() const { return start_; }

 private:
  int last_groups() const { return groups_of(runs_.back().table->bits); }

  // The group in which a free run over both sides of the seam crosses it.
  int find_seam() {
    std::vector<Piece> pieces, behind;
    trellis::pieces_before_seam(runs_, pieces);
    trellis::pieces_behind_seam(runs_, behind);
    const std::size_t seam = pieces.size();
    pieces.insert(pieces.end(), behind.begin(), behind.end());
    Metrics metrics(static_cast<std::size_t>(groups_of(runs_[pieces[0].run].table->bits)));
    pass(pieces, metrics);
    return path_into(first_lowest(metrics))[seam].front() % last_groups();
  }

  // In the order of the lower bounds that two free laps give, until the bound reaches the lowest cost.
  std::vector<std::vector<int>> best_of_all_seams() {
    Metrics first(static_cast<std::size_t>(last_groups()));
    const std::uint32_t of_first = pass(whole_, first);
    Metrics bounds = first;
    const std::uint32_t of_second = pass(whole_, bounds);
    const std::uint32_t base =
        trellis::join_bounds(first.data(), of_first, bounds.data(), of_second, last_groups());
    std::uint32_t lowest_cost = ~0U;
    std::vector<std::vector<int>> path;
    for (int tried = 0; tried < last_groups(); ++tried) {
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

  // Runs over the paths that leave `group`; returns the cost of the best that comes back to it.
  std::uint32_t run_cycle(int group) {
    Metrics metrics(static_cast<std::size_t>(last_groups()), trellis::kUnreachable);
    metrics[static_cast<std::size_t>(group)] = 0;
    const std::uint32_t subtracted = pass(whole_, metrics);
    return subtracted + metrics[static_cast<std::size_t>(group)];
  }

  // Metrics go in as they are before the first element and come out as they are after the last, less the number
  // returned.
  std::uint32_t pass(const std::vector<Piece>& pieces, Metrics& metrics) {
    winner_.clear();
    groups_before_.clear();
    std::uint32_t subtracted = 0;
    for (const Piece& piece : pieces) {
      auto& winners = winner_.emplace_back();
      groups_before_.push_back(static_cast<int>(metrics.size()));
      for (int i = 0; i < piece.count; ++i) {
        advance(piece.run, x_[piece.run][static_cast<std::size_t>(piece.first + i)], metrics,
                winners.emplace_back());
        if ((i + 1) % trellis::kRenormalizeEvery != 0 && i + 1 < piece.count) continue;
        const std::uint16_t least = *std::min_element(metrics.begin(), metrics.end());
        for (std::uint16_t& metric : metrics) metric = static_cast<std::uint16_t>(metric - least);
        subtracted += least;
      }
    }
    return subtracted;
  }

  void advance(std::size_t run, int x, Metrics& metrics, std::vector<int>& winner) const {
    const TrellisTable& table = *runs_[run].table;
    const int bits = table.bits;
    Metrics next(static_cast<std::size_t>(groups_of(bits)));
    winner.resize(next.size());
    for (std::size_t w = 0; w < 256; ++w) {
      const int before = metrics[w % metrics.size()];
      const int cost = std::min(before + branch_cost(bits, x, table.values[w]), 0xFFFF);
      const std::size_t group = w >> bits;
      const bool first_of_group = w % (std::size_t{1} << bits) == 0;
      if (first_of_group || cost < next[group]) {
        next[group] = static_cast<std::uint16_t>(cost);
        winner[group] = static_cast<int>(w);
      }
    }
    metrics = next;
  }

  // The windows of the last pass' best path into `group`, by piece.
  std::vector<std::vector<int>> path_into(int group) const {
    std::vector<std::vector<int>> path(winner_.size());
    for (std::size_t p = winner_.size(); p-- > 0;) {
      const auto& winners = winner_[p];
      path[p].resize(winners.size());
      for (std::size_t i = winners.size(); i-- > 0;) {
        const int window = winners[i][static_cast<std::size_t>(group)];
        path[p][i] = window;
        group = window % (i == 0 ? groups_before_[p] : static_cast<int>(winners[i - 1].size()));
      }
    }
    return path;
  }

  std::size_t start_;             // the first run of the search
  std::vector<TrellisRun> runs_;  // in its order
  std::vector<std::vector<int>> x_;
  std::vector<Piece> whole_;
  std::vector<std::vector<std::vector<int>>>
      winner_;  // by piece of the last pass, element and group: the last window of the best path
  std::vector<int> groups_before_;  // by piece
};

}  // namespace

void trellis_encode_reference(TrellisRuns runs, const float* z, std::uint8_t* codes) {
  trellis::check_runs("trellis_encode_reference", runs);
  std::fill(codes, codes + trellis_code_bytes(runs), std::uint8_t{0});
  Search search(runs, z);
  const std::vector<std::vector<int>> windows = search.best_cycle();
  int at = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    for (const int window : windows[(i + runs.size() - search.start()) % runs.size()]) {
      for (int b = 0; b < runs[i].table->bits; ++b, ++at)
        codes[at / 8] = static_cast<std::uint8_t>(codes[at / 8] | (window >> b & 1) << at % 8);
    }
  }
}

}  // namespace veloxquant
