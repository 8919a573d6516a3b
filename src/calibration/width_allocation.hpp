// Allocation of widths: one bit budget over groups, each of which takes one width out of a list.
//
// A group is what one KV head codes of a token, its key or its value; a width costs it bits (codes and scales, as
// they are held) and a loss. To find one width for every group with the least sum of losses within the budget is a
// multiple-choice knapsack. It is solved exactly, whatever the curves are: reverse water-filling in closed form,
// rounded (RateQuant, arXiv:2605.06675), misses the budget or the optimum as soon as widths are unevenly spaced
// or curves are not one exponential.
#pragma once

#include <cstdint>
#include <vector>

namespace veloxquant {

struct WidthChoice {
  std::int64_t bits = 0;  // of one vector, scales included
  double loss = 0;        // finite, not negative
};

struct WidthAllocation {
  std::vector<std::size_t> chosen;  // by group, an index of its choices
  std::int64_t bits = 0;            // of one vector of every group, never above the budget
  double loss = 0;
};

// Throws ConfigError when a group has no choice, for losses that are not finite or negative, and when the budget is
// below what the cheapest choices take.
WidthAllocation allocate_widths(const std::vector<std::vector<WidthChoice>>& groups, std::int64_t budget);

}  // namespace veloxquant
