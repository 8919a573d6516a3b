#include <veloxquant/eval/forecast.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "calibration/ratequant_artifact.hpp"
#include "calibration/spectral_artifact.hpp"
#include "quantizers/model_budget.hpp"

namespace veloxquant {
namespace {

BudgetSpread spread_spectral(const ArtifactStore& artifacts, const QuantizerOptions& options) {
  const SpectralSettings s = read_settings(artifacts);
  const double target = budget_of(kSpectralMethod, options, s.target_bits);
  const Allocation plan =
      allocate_bits(allocation_groups(artifacts, s), {.target_bits = target, .code = s.code, .gain = s.gain});
  const ModelGroups groups = s.groups();
  BudgetSpread spread{target, plan.bits_per_element, s.layers, s.kv_heads};
  if (read_fact(artifacts, "sensitivity", kSpectralMethod) == "measured") spread.kl = plan.predicted_kl;
  for (std::size_t g = 0; g < groups.count(); ++g) {
    const Role other = groups.role_of(g) == Role::keys ? Role::values : Role::keys;
    const bool shares_byte = !plan.runs[groups.index(groups.layer_of(g), other, groups.head_of(g))].empty();
    double bits = s.gain && !plan.runs[g].empty() ? (shares_byte ? kGainBits : 2 * kGainBits) : 0;
    for (const RunPlan& run : plan.runs[g]) bits += run.bits * run.count;
    spread.bits.push_back(bits / s.head_dim);
  }
  return spread;
}

BudgetSpread spread_ratequant(const ArtifactStore& artifacts, const QuantizerOptions& options) {
  const RatequantSettings s = read_ratequant(artifacts);
  const double target = budget_of(kRatequantMethod, options, s.target_bits);
  const RatequantPlan plan = allocate_ratequant(artifacts, s, target, sensitivity_of(options, s),
                                                std::vector<bool>(s.groups.count(), true));
  BudgetSpread spread{target, plan.bits_per_element, s.groups.layers, s.groups.kv_heads};
  spread.kl = plan.predicted_kl;
  for (const int width : plan.widths) {
    const auto at = static_cast<std::size_t>(std::ranges::find(s.widths, width) - s.widths.begin());
    spread.bits.push_back(static_cast<double>(s.vector_bits[at]) / s.groups.head_dim);
  }
  return spread;
}

std::optional<BudgetSpread> spread_of(const std::string& method, const ArtifactStore& artifacts,
                                      const QuantizerOptions& options) {
  if (method == kSpectralMethod) return spread_spectral(artifacts, options);
  if (method == kRatequantMethod) return spread_ratequant(artifacts, options);
  return std::nullopt;
}

std::optional<double> kl_of(const std::string& method, const ArtifactStore& artifacts,
                            const QuantizerOptions& options) {
  const auto spread = spread_of(method, artifacts, options);
  return spread ? spread->kl : std::nullopt;
}

// Empty for artifacts that do not say.
std::string method_of(const ArtifactStore& artifacts) {
  const auto fact = artifacts.facts().find("method");
  return fact == artifacts.facts().end() ? std::string() : fact->second;
}

// The least and the largest budget, bits per element.
std::pair<double, double> budgets(const std::string& method, const ArtifactStore& artifacts) {
  if (method != kRatequantMethod) return {0.125, kWidestCode};
  const RatequantSettings s = read_ratequant(artifacts);
  const double dim = s.groups.head_dim;
  return {static_cast<double>(s.vector_bits.front()) / dim, static_cast<double>(s.vector_bits.back()) / dim};
}

}  // namespace

std::optional<double> forecast_kl(const ArtifactStore& artifacts, const MethodSpec& keys,
                                  const MethodSpec& values) {
  if (keys.method != method_of(artifacts) || values.method != keys.method ||
      keys.options.extra != values.options.extra) {
    return std::nullopt;
  }
  return kl_of(keys.method, artifacts, keys.options);
}

std::vector<std::pair<double, double>> forecast_curve(const ArtifactStore& artifacts) {
  const std::string method = method_of(artifacts);
  const auto [least, most] = budgets(method, artifacts);
  std::vector<std::pair<double, double>> curve;
  for (double bits = 1; bits <= std::min(most, 4.0); bits += 0.25) {
    if (bits < least) continue;
    QuantizerOptions options;
    options.extra[kBudgetOption] = fmt::format("{}", bits);
    if (const auto kl = kl_of(method, artifacts, options)) curve.emplace_back(bits, *kl);
  }
  return curve;
}

std::optional<BudgetSpread> budget_spread(const ArtifactStore& artifacts) {
  const std::string method = method_of(artifacts);
  if (method != kSpectralMethod && method != kRatequantMethod) return std::nullopt;
  const auto [least, most] = budgets(method, artifacts);
  const double target = read_number(artifacts, "target_bits", method);
  if (target < least || target > most) return std::nullopt;
  return spread_of(method, artifacts, {});
}

}  // namespace veloxquant
