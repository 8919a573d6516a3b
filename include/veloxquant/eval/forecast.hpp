// The divergence that calibrated methods with a bit budget are predicted to cause, before anything runs.
//
// Artifacts whose weights were measured say what each group's error costs; the allocation at a budget says what error
// is left. Their products, summed over the model, are the forecast.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include <veloxquant/core/artifact_store.hpp>
#include <veloxquant/core/config.hpp>

namespace veloxquant {

// KL in nats per token of a model whose keys and values have these methods. Nothing unless both are the method of the
// artifacts with one budget, and the artifacts' weights were measured (others are in no unit). Throws ConfigError
// for a budget out of range, ArtifactError for damaged artifacts.
std::optional<double> forecast_kl(const ArtifactStore& artifacts, const MethodSpec& keys,
                                  const MethodSpec& values);

// {bits per element, KL} at the budgets 1, 1.25, ... 4 as far as the method can meet them; empty where there is
// no forecast.
std::vector<std::pair<double, double>> forecast_curve(const ArtifactStore& artifacts);

// How the artifacts' own budget (their `target_bits`) is spread when all keys and values have the method.
struct BudgetSpread {
  double target_bits = 0;
  double bits_per_element = 0;  // spent, scales included
  int layers = 0, kv_heads = 0;
  std::vector<double>
      bits{};  // per element, scales included: layer by layer, keys of all KV heads before their values
  std::optional<double> kl{};  // forecast, nats per token
};

// Nothing for artifacts of methods without a budget, and where the widths cannot meet it. Throws
// ArtifactError for damaged artifacts.
std::optional<BudgetSpread> budget_spread(const ArtifactStore& artifacts);

}  // namespace veloxquant
