#include "report.hpp"

#include <numeric>

namespace veloxquant::cli {

std::string row_name(const MethodResult& result) {
  return result.reference ? "unquantized" : result.method.name();
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

}  // namespace veloxquant::cli
