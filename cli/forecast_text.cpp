#include "forecast_text.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <span>
#include <string>
#include <vector>
#include <veloxquant/eval/forecast.hpp>

#include "core/counted.hpp"

namespace veloxquant::cli {
namespace {

std::span<const double> heads_of(const BudgetSpread& spread, int layer, bool values) {
  const auto heads = static_cast<std::size_t>(spread.kv_heads);
  return std::span(spread.bits)
      .subspan((static_cast<std::size_t>(layer) * 2 + (values ? 1 : 0)) * heads, heads);
}

std::string row(std::span<const double> heads) { return fmt::format("{:.2f}", fmt::join(heads, " ")); }

}  // namespace

void print_forecast(const ArtifactStore& store) {
  const auto curve = forecast_curve(store);
  if (!curve.empty()) fmt::print("forecast of KL (nats per token):\n");
  for (const auto& [bits, kl] : curve) fmt::print("  {:4.2f} bits  {:.4f}\n", bits, kl);
}

void print_budget(const ArtifactStore& store) {
  const auto spread = budget_spread(store);
  if (!spread) return;
  fmt::print("budget: {} per element, of which {:.4f} are spent{}\n", counted(spread->target_bits, "bit"),
             spread->bits_per_element,
             spread->kl ? fmt::format("; forecast of KL {:.4f} nats per token", *spread->kl) : "");
  fmt::print("bits per element by KV head, scales included:\n");
  const std::size_t width = std::max<std::size_t>(4, row(heads_of(*spread, 0, false)).size());
  fmt::print("  layer  {:{}}  values\n", "keys", width);
  for (int layer = 0; layer < spread->layers; ++layer) {
    fmt::print("  {:5}  {:{}}  {}\n", layer, row(heads_of(*spread, layer, false)), width,
               row(heads_of(*spread, layer, true)));
  }
}

nlohmann::ordered_json budget_json(const ArtifactStore& store) {
  const auto spread = budget_spread(store);
  if (!spread) return nullptr;
  const auto numbers = [](std::span<const double> heads) { return std::vector(heads.begin(), heads.end()); };
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  for (int layer = 0; layer < spread->layers; ++layer) {
    layers.push_back({{"keys", numbers(heads_of(*spread, layer, false))},
                      {"values", numbers(heads_of(*spread, layer, true))}});
  }
  nlohmann::ordered_json json = {{"target_bits", spread->target_bits},
                                 {"bits_per_element", spread->bits_per_element},
                                 {"forecast_kl", nullptr},
                                 {"layers", layers}};
  if (spread->kl) json["forecast_kl"] = *spread->kl;
  return json;
}

nlohmann::ordered_json forecast_json(const ArtifactStore& store) {
  nlohmann::ordered_json curve = nlohmann::ordered_json::array();
  for (const auto& [bits, kl] : forecast_curve(store)) curve.push_back({{"bits", bits}, {"kl", kl}});
  return curve;
}

}  // namespace veloxquant::cli
