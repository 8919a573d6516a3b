#include <veloxquant/eval/forecast.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "calibration/ratequant_artifact.hpp"
#include "calibration/spectral_artifact.hpp"
#include "quantizers/model_budget.hpp"

namespace veloxquant {
namespace {

std::optional<double> spectral_kl(const ArtifactStore& artifacts, const QuantizerOptions& options) {
  if (read_fact(artifacts, "sensitivity", kSpectralMethod) != "measured") return std::nullopt;
  const SpectralSettings s = read_settings(artifacts);
  return allocate_bits(allocation_groups(artifacts, s),
                       {.target_bits = budget_of(kSpectralMethod, options, s.target_bits),
                        .code = s.code,
                        .gain = s.gain})
      .predicted_kl;
}

std::optional<double> ratequant_kl(const ArtifactStore& artifacts, const QuantizerOptions& options) {
  const RatequantSettings s = read_ratequant(artifacts);
  return allocate_ratequant(artifacts, s, budget_of(kRatequantMethod, options, s.target_bits),
                            sensitivity_of(options, s), std::vector<bool>(s.groups.count(), true))
      .predicted_kl;
}

std::optional<double> kl_of(const std::string& method, const ArtifactStore& artifacts,
                            const QuantizerOptions& options) {
  if (method == kSpectralMethod) return spectral_kl(artifacts, options);
  if (method == kRatequantMethod) return ratequant_kl(artifacts, options);
  return std::nullopt;
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

}  // namespace veloxquant
