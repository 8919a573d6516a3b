#include "report.hpp"

#include <fmt/format.h>

#include <cmath>
#include <numeric>

namespace veloxquant::cli {
namespace {

std::string short_name(const MethodSpec& spec) {
  const MethodInfo info = QuantizerRegistry::info(spec.method);
  std::string text = spec.to_string();
  const auto take_out = [&](const std::string& part) {
    const std::size_t at = text.find(part);
    if (at == std::string::npos) return false;
    text.erase(at, part.size());
    return true;
  };
  if (info.bits.size() == 1 && !info.takes_budget()) take_out(":" + std::to_string(spec.options.bits));
  if (info.transform == "none" && take_out(":transform=hadamard")) text += " rotated";
  return text;
}

}  // namespace

std::string row_name(const MethodResult& result) {
  return result.reference ? "unquantized" : result.method.name();
}

std::string short_name(const BenchmarkMethod& method) {
  const std::string keys = short_name(method.keys), values = short_name(method.values);
  return keys == values ? keys : keys + "/" + values;
}

std::string short_name(const MethodResult& result) {
  return result.reference ? "unquantized" : short_name(result.method);
}

std::string display_name(const MethodResult& result) {
  for (const Preset& preset : presets()) {
    if (!result.reference && result.method.name() == preset.method)
      return fmt::format("{} ({})", preset.method, preset.name);
  }
  return short_name(result);
}

std::string asked_bits(const MethodSpec& spec) {
  if (!QuantizerRegistry::info(spec.method).takes_budget()) return std::to_string(spec.options.bits);
  const auto found = spec.options.extra.find(kBudgetOption);
  return found == spec.options.extra.end() ? "own" : found->second;
}

std::optional<double> median(const std::optional<Spread>& spread) {
  return spread ? std::optional(spread->median) : std::nullopt;
}

std::optional<std::uint64_t> peak_bytes(const MethodResult& result) {
  return result.memory ? std::optional(result.memory->peak_bytes) : std::nullopt;
}

std::optional<double> mean_attention_error(const MethodResult& result) {
  const std::vector<double>& errors = result.attention_error;
  if (errors.empty()) return {};
  return std::accumulate(errors.begin(), errors.end(), 0.0) / static_cast<double>(errors.size());
}

std::optional<double> recall_error(const MethodResult& result) {
  if (!result.recall || result.recall_asked == 0) return {};
  const double asked = result.recall_asked + 4, share = (*result.recall * result.recall_asked + 2) / asked;
  return std::sqrt(share * (1 - share) / asked);
}

}  // namespace veloxquant::cli
