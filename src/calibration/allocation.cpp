#include "calibration/allocation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <queue>
#include <set>
#include <veloxquant/core/error.hpp>

#include "codebook/scalar_table.hpp"
#include "codebook/trellis.hpp"

namespace veloxquant {
namespace {

constexpr int kTrellisWidths = 4;
constexpr int kLongRun = 64;  // whose distortion steps are weighed by

RunPlan make_run(RunCode code, int bits, int count) {
  const bool trellis = code == RunCode::trellis && bits <= kTrellisWidths;
  return {trellis ? CodeKind::trellis : CodeKind::scalar, bits, count};
}

// D by width, of the code that long runs get.
std::array<double, kWidestCode + 1> width_distortions(RunCode code) {
  std::array<double, kWidestCode + 1> table{};
  for (int b = 0; b <= kWidestCode; ++b) {
    const bool trellis = code == RunCode::trellis && b <= kTrellisWidths;
    table[static_cast<std::size_t>(b)] =
        code_distortion(trellis ? CodeKind::trellis : CodeKind::scalar, b, kLongRun);
  }
  return table;
}

// A block of a group, on its way to its next bit.
struct Step {
  double gain;
  std::size_t group, block;
  // The order of equal gains must not depend on the heap.
  bool operator<(const Step& o) const {
    if (gain != o.gain) return gain < o.gain;
    return group != o.group ? group > o.group : block > o.block;
  }
};

class Filling {
 public:
  Filling(const std::vector<AllocationGroup>& groups, RunCode code)
      : groups_(groups), table_(width_distortions(code)) {
    for (const AllocationGroup& group : groups) {
      auto& energies = energy_.emplace_back();
      for (std::size_t c = 0; c < group.lambda.size(); ++c) {
        const std::size_t block = c / static_cast<std::size_t>(group.step);
        if (block == energies.size()) energies.push_back(0);
        energies[block] += group.weight * static_cast<double>(group.lambda[c]);
      }
      bits_.emplace_back(energies.size(), 0);
    }
  }

  // Spends at most `budget` bits. With the first block of a group its gain is due; a byte of gains is due as a whole
  // with the first of its groups.
  void fill(double budget, bool gain) {
    std::priority_queue<Step> steps;
    std::vector<char> opened(groups_.size(), 0);
    std::set<int> bytes;
    const auto gain_due = [&](std::size_t g) {
      const int byte = groups_[g].gain_byte;
      if (!gain || opened[g] || bytes.contains(byte)) return 0;
      return byte < 0 ? kGainBits : 8;
    };
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      for (std::size_t b = 0; b < bits_[g].size(); ++b) steps.push(step_of(g, b));
    }
    while (!steps.empty()) {
      const Step step = steps.top();
      steps.pop();
      const double due = groups_[step.group].step + gain_due(step.group);
      if (step.gain <= 0 || spent_ + due > budget) continue;
      spent_ += due;
      opened[step.group] = 1;
      if (groups_[step.group].gain_byte >= 0) bytes.insert(groups_[step.group].gain_byte);
      int& bits = bits_[step.group][step.block];
      if (++bits < kWidestCode) steps.push(step_of(step.group, step.block));
    }
  }

  double spent() const { return spent_; }
  std::vector<RunPlan> runs(std::size_t g, RunCode code) const {
    std::vector<RunPlan> result;
    for (std::size_t b = 0; b < bits_[g].size() && bits_[g][b] > 0;) {
      std::size_t end = b;
      int count = 0;
      for (; end < bits_[g].size() && bits_[g][end] == bits_[g][b]; ++end) count += groups_[g].step;
      result.push_back(make_run(code, bits_[g][b], count));
      b = end;
    }
    return result;
  }

 private:
  // All bits of a vector cost the same, and lambda is descending: of two blocks of equal width the first is
  // served first, so that widths never grow within a group.
  Step step_of(std::size_t g, std::size_t block) const {
    const auto bits = static_cast<std::size_t>(bits_[g][block]);
    const double less = energy_[g][block] * (table_[bits] - table_[bits + 1]);
    return {less / groups_[g].step, g, block};
  }

  const std::vector<AllocationGroup>& groups_;
  std::array<double, kWidestCode + 1> table_;
  std::vector<std::vector<double>> energy_;  // weight * sum of lambda, by group and block
  std::vector<std::vector<int>> bits_;
  double spent_ = 0;
};

void check(const std::vector<AllocationGroup>& groups, const AllocationOptions& options) {
  if (!(options.target_bits >= kLeastTarget && options.target_bits <= kWidestCode)) {
    throw ConfigError("allocate", fmt::format("{} bits per element asked for; it is from {} to {}",
                                              options.target_bits, kLeastTarget, kWidestCode));
  }
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const auto& lambda = groups[g].lambda;
    const auto step = static_cast<std::size_t>(std::max(groups[g].step, 0));
    if (step < 8 || step % 8 != 0 || lambda.size() % step != 0) {
      throw ConfigError("allocate",
                        fmt::format("blocks of {} coordinates in group {} of {}; a block has a multiple of 8 "
                                    "that divides the group",
                                    step, g, lambda.size()));
    }
    const bool finite =
        std::all_of(lambda.begin(), lambda.end(), [](float x) { return std::isfinite(x) && x >= 0; });
    if (!finite || !std::is_sorted(lambda.rbegin(), lambda.rend()) || !std::isfinite(groups[g].weight) ||
        groups[g].weight < 0) {
      throw ConfigError("allocate",
                        fmt::format("the spectrum or the weight of group {} is not finite, negative, or not "
                                    "in descending order",
                                    g));
    }
  }
}

}  // namespace

const char* to_string(RunCode code) noexcept { return code == RunCode::scalar ? "scalar" : "trellis"; }

RunCode run_code_from(const std::string& name) {
  if (name == "scalar") return RunCode::scalar;
  if (name == "trellis") return RunCode::trellis;
  throw ConfigError("code", fmt::format("unknown code '{}'; known are scalar, trellis", name));
}

double code_distortion(CodeKind kind, int bits, int count) {
  if (bits == 0) return 1;
  return kind == CodeKind::trellis ? trellis_distortion(bits, count) : lloyd_max_table(bits, 0)->distortion;
}

Allocation allocate_bits(const std::vector<AllocationGroup>& groups, const AllocationOptions& options) {
  check(groups, options);
  double elements = 0;
  for (const AllocationGroup& group : groups) elements += static_cast<double>(group.lambda.size());
  Filling filling(groups, options.code);
  filling.fill(options.target_bits * elements, options.gain);

  Allocation result;
  result.bits_per_element = filling.spent() / elements;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    result.runs.push_back(filling.runs(g, options.code));
    double left = 0;
    std::size_t c = 0;
    for (const double distortion : distortions(result.runs.back(), groups[g].lambda))
      left += static_cast<double>(groups[g].lambda[c++]) * distortion;
    for (; c < groups[g].lambda.size(); ++c) left += static_cast<double>(groups[g].lambda[c]);
    result.predicted_kl += groups[g].weight * left / 2;
  }
  return result;
}

}  // namespace veloxquant
