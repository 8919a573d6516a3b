#include "calibration/width_allocation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <veloxquant/core/error.hpp>

namespace veloxquant {
namespace {

// That the search holds at a time, before those are dropped that others beat: some 300 MB. Artifacts of
// strangers may ask for any number.
constexpr std::size_t kMostStates = std::size_t{1} << 22;

using Groups = std::vector<std::vector<WidthChoice>>;

// A step along the lower convex hull of a group's (bits, loss).
struct HullStep {
  double gain;  // loss taken away per bit
  std::size_t group, to;
};

// The choices of the first groups, as far as later groups care: those that another state beats in both bits and
// loss are dropped.
struct State {
  std::int64_t bits;
  double loss;
  double slack;  // by how much the choices miss the least loss + multiplier * bits of their groups
  std::size_t before, chosen;
};

void check(const Groups& groups) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const bool good = std::ranges::all_of(groups[g], [](const WidthChoice& choice) {
      return std::isfinite(choice.loss) && choice.loss >= 0 && choice.bits >= 0;
    });
    if (!good || groups[g].empty()) {
      throw ConfigError(
          "allocate",
          fmt::format("the {} widths of group {} have losses or bits that are negative or not finite",
                      groups[g].size(), g));
    }
  }
}

std::size_t cheapest(const std::vector<WidthChoice>& choices) {
  const auto less = [](const WidthChoice& a, const WidthChoice& b) {
    return a.bits != b.bits ? a.bits < b.bits : a.loss < b.loss;
  };
  return static_cast<std::size_t>(std::ranges::min_element(choices, less) - choices.begin());
}

// In a group gains never grow.
void add_hull(const std::vector<WidthChoice>& choices, std::size_t group, std::vector<HullStep>& steps) {
  for (std::size_t at = cheapest(choices);;) {
    HullStep best{0, group, at};
    for (std::size_t i = 0; i < choices.size(); ++i) {
      if (choices[i].bits <= choices[at].bits || choices[i].loss >= choices[at].loss) continue;
      const double gain =
          (choices[at].loss - choices[i].loss) / static_cast<double>(choices[i].bits - choices[at].bits);
      if (gain > best.gain || (gain == best.gain && choices[i].bits > choices[best.to].bits))
        best = {gain, group, i};
    }
    if (best.to == at) return;
    steps.push_back(best);
    at = best.to;
  }
}

class Knapsack {
 public:
  Knapsack(const Groups& groups, std::int64_t budget) : groups_(groups), budget_(budget) {
    for (const auto& choices : groups) {
      best_.chosen.push_back(cheapest(choices));
      best_.bits += choices[best_.chosen.back()].bits;
      best_.loss += choices[best_.chosen.back()].loss;
    }
    if (best_.bits > budget) {
      throw ConfigError("allocate",
                        fmt::format("{} bits for a vector of each of {} groups, and the narrowest "
                                    "widths take {}",
                                    budget, groups.size(), best_.bits));
    }
  }

  WidthAllocation solve() {
    walk_hulls();
    search();
    return std::move(best_);
  }

 private:
  const WidthChoice& choice(std::size_t g, std::size_t i) const { return groups_[g][i]; }

  // The steps of largest gain while they fit: nearly the best, and the gain of the first that does not fit is
  // the multiplier with which the Lagrangian bound is tightest.
  void walk_hulls() {
    std::vector<HullStep> steps;
    for (std::size_t g = 0; g < groups_.size(); ++g) add_hull(groups_[g], g, steps);
    std::ranges::stable_sort(steps, std::ranges::greater(), &HullStep::gain);
    std::vector<char> stopped(groups_.size(), 0);
    for (const HullStep& step : steps) {
      if (stopped[step.group]) continue;
      const WidthChoice& from = choice(step.group, best_.chosen[step.group]);
      const WidthChoice& to = choice(step.group, step.to);
      if (best_.bits + to.bits - from.bits > budget_) {
        stopped[step.group] = 1;
        multiplier_ = std::max(multiplier_, step.gain);
        continue;
      }
      best_.bits += to.bits - from.bits;
      best_.chosen[step.group] = step.to;
    }
    best_.loss = 0;
    for (std::size_t g = 0; g < groups_.size(); ++g) best_.loss += choice(g, best_.chosen[g]).loss;
  }

  double priced(const WidthChoice& c) const { return c.loss + multiplier_ * static_cast<double>(c.bits); }

  // Dynamic programming over the states. No way to complete a state has a loss below bound + its slack, where
  // bound = sum of the groups' least priced choices - multiplier * budget; what cannot beat the walk is dropped.
  void search() {
    std::vector<double> least;
    std::vector<std::int64_t> rest(groups_.size() + 1, 0);  // fewest bits of the groups from here on
    double bound = -multiplier_ * static_cast<double>(budget_);
    for (std::size_t g = groups_.size(); g-- > 0;)
      rest[g] = rest[g + 1] + choice(g, cheapest(groups_[g])).bits;
    for (const auto& choices : groups_) {
      double price = std::numeric_limits<double>::infinity();
      for (const WidthChoice& c : choices) price = std::min(price, priced(c));
      least.push_back(price);
      bound += price;
    }
    // Sums of the same numbers in other orders differ by their rounding.
    const double gap = best_.loss - bound + 1e-12 * (best_.loss + std::abs(bound));
    std::vector<std::vector<State>> levels = {{{0, 0, 0, 0, 0}}};
    std::size_t kept = 0;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      std::vector<State> states;
      for (std::size_t s = 0; s < levels[g].size(); ++s) {
        const State& state = levels[g][s];
        for (std::size_t i = 0; i < groups_[g].size(); ++i) {
          const WidthChoice& c = choice(g, i);
          const State next{state.bits + c.bits, state.loss + c.loss, state.slack + priced(c) - least[g], s,
                           i};
          if (next.slack > gap || next.bits + rest[g + 1] > budget_) continue;
          if (kept + states.size() == kMostStates) {
            throw ConfigError("allocation",
                              fmt::format("more than {} ways to spread the budget are worth a look; widths "
                                          "whose sizes have a common divisor have few",
                                          kMostStates));
          }
          states.push_back(next);
        }
      }
      keep_undominated(states);
      kept += states.size();
      levels.push_back(std::move(states));
    }
    take(levels);
  }

  static void keep_undominated(std::vector<State>& states) {
    std::ranges::stable_sort(states, [](const State& a, const State& b) {
      return a.bits != b.bits ? a.bits < b.bits : a.loss < b.loss;
    });
    double least = std::numeric_limits<double>::infinity();
    std::erase_if(states, [&](const State& state) {
      if (state.loss >= least) return true;
      least = state.loss;
      return false;
    });
  }

  void take(const std::vector<std::vector<State>>& levels) {
    if (levels.back().empty() || levels.back().back().loss >= best_.loss) return;
    std::size_t at = levels.back().size() - 1;  // undominated states are in the order of falling loss
    best_.bits = levels.back()[at].bits;
    best_.loss = levels.back()[at].loss;
    for (std::size_t g = groups_.size(); g-- > 0;) {
      best_.chosen[g] = levels[g + 1][at].chosen;
      at = levels[g + 1][at].before;
    }
  }

  const Groups& groups_;
  std::int64_t budget_;
  WidthAllocation best_;
  double multiplier_ = 0;
};

}  // namespace

WidthAllocation allocate_widths(const Groups& groups, std::int64_t budget) {
  check(groups);
  return Knapsack(groups, budget).solve();
}

}  // namespace veloxquant
