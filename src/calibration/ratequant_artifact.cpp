#include "calibration/ratequant_artifact.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <veloxquant/core/error.hpp>

#include "calibration/width_allocation.hpp"
#include "core/quote.hpp"

namespace veloxquant {
namespace {

// "1,2,4", positive and ascending.
template <class T>
std::vector<T> read_list(const ArtifactStore& store, const char* name) {
  const std::string& text = read_fact(store, name, kRatequantMethod);
  std::vector<T> values;
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  for (bool more = true; more;) {
    T value{};
    const auto [stop, error] = std::from_chars(at, end, value);
    more = stop != end && *stop == ',';
    if (error != std::errc() || (stop != end && !more) || value < 1 ||
        (!values.empty() && value <= values.back())) {
      throw ArtifactError(kRatequantMethod,
                          fmt::format("'{}' is {}; it is a list of ascending numbers", name, quote(text)));
    }
    values.push_back(value);
    at = stop + 1;
  }
  return values;
}

bool has_measured_weights(const ArtifactStore& store) {
  return store.contains(artifact_tensor(0, Role::keys, "weight"));
}

void require_sensitivity(const std::string& name, const ArtifactStore& store) {
  if (name != "measured" && name != "proxy") {
    throw ConfigError("create",
                      fmt::format("unknown sensitivity {}; known are measured, proxy", quote(name)));
  }
  if (name == "measured" && !has_measured_weights(store)) {
    throw ArtifactError(
        "create",
        "the artifacts hold no measured weights; run precompute --sensitivity measured, or ask for "
        "sensitivity=proxy");
  }
}

// Losses by group and width.
std::vector<std::vector<double>> losses(const ArtifactStore& store, const RatequantSettings& s,
                                        const std::string& sensitivity) {
  const std::int64_t heads = s.groups.kv_heads, widths = std::ssize(s.widths);
  std::vector<std::vector<double>> result(s.groups.count());
  for (int layer = 0; layer < s.groups.layers; ++layer) {
    for (const Role role : {Role::keys, Role::values}) {
      const auto tensor = [&](const char* what, const Shape& shape) {
        return store.floats(artifact_tensor(layer, role, what), kRatequantMethod, shape);
      };
      const Tensor distortion = tensor("distortion", {heads, widths});
      const Tensor weight = tensor(sensitivity == "measured" ? "weight" : "proxy", {heads});
      for (int head = 0; head < s.groups.kv_heads; ++head) {
        for (std::int64_t w = 0; w < widths; ++w) {
          const auto lost = static_cast<double>(distortion.data<const float>()[head * widths + w]);
          const auto cost = static_cast<double>(weight.data<const float>()[head]);
          if (lost < 0 || cost < 0) {
            throw ArtifactError(
                kRatequantMethod,
                fmt::format("the distortion {} or the weight {} of head {} of the {} of layer {} is "
                            "negative",
                            lost, cost, head, to_string(role), layer));
          }
          result[s.groups.index(layer, role, head)].push_back(cost * lost);
        }
      }
    }
  }
  return result;
}

}  // namespace

MethodSpec base_method(const std::string& base) {
  const MethodSpec spec = MethodSpec::parse(base);
  const std::size_t colon = base.find(':');
  if (QuantizerRegistry::info(spec.method).takes_budget()) {
    throw ConfigError(
        kRatequantMethod,
        fmt::format("{} spreads a budget over the model itself and is no base method", quote(base)));
  }
  if (colon != std::string::npos &&
      base.substr(colon, base.find(':', colon + 1) - colon).find('=') == std::string::npos) {
    throw ConfigError(kRatequantMethod,
                      fmt::format("the base method {} is written with a width; its widths are "
                                  "given apart",
                                  quote(base)));
  }
  return spec;
}

void write_settings(const RatequantSettings& s, ArtifactStore& store) {
  write_groups(s.groups, kRatequantMethod, kRatequantSchema, store);
  store.set_fact("base", s.base);
  store.set_fact("widths", fmt::format("{}", fmt::join(s.widths, ",")));
  store.set_fact("vector_bits", fmt::format("{}", fmt::join(s.vector_bits, ",")));
  store.set_fact(kSensitivityOption, s.sensitivity);
  store.set_fact("target_bits", fmt::format("{}", s.target_bits));
}

RatequantSettings read_ratequant(const ArtifactStore& store) {
  RatequantSettings s{.groups = read_groups(store, kRatequantMethod, kRatequantSchema),
                      .base = read_fact(store, "base", kRatequantMethod),
                      .widths = read_list<int>(store, "widths"),
                      .vector_bits = read_list<std::int64_t>(store, "vector_bits"),
                      .sensitivity = read_fact(store, kSensitivityOption, kRatequantMethod),
                      .target_bits = read_number(store, "target_bits", kRatequantMethod)};
  if (s.widths.size() > kMostWidths || s.widths.back() > kWidestWidth) {
    throw ArtifactError(kRatequantMethod,
                        fmt::format("{} widths up to {} bits; there are at most {}, up to {}",
                                    s.widths.size(), s.widths.back(), kMostWidths, kWidestWidth));
  }
  constexpr std::int64_t kMostBits = std::int64_t{1} << 24;
  if (s.widths.size() != s.vector_bits.size() || s.vector_bits.back() > kMostBits) {
    throw ArtifactError(kRatequantMethod,
                        fmt::format("vectors of {} bits at widths of {} have no meaning",
                                    fmt::join(s.vector_bits, ","), fmt::join(s.widths, ",")));
  }
  base_method(s.base);
  return s;
}

std::string sensitivity_of(const QuantizerOptions& o, const RatequantSettings& s) {
  const auto found = o.extra.find(kSensitivityOption);
  return found == o.extra.end() ? s.sensitivity : found->second;
}

RatequantPlan allocate_ratequant(const ArtifactStore& store, const RatequantSettings& s, double target_bits,
                                 const std::string& sensitivity, const std::vector<bool>& shares) {
  require_sensitivity(sensitivity, store);
  const double dim = s.groups.head_dim;
  const double least = static_cast<double>(s.vector_bits.front()) / dim,
               most = static_cast<double>(s.vector_bits.back()) / dim;
  if (!(target_bits >= least && target_bits <= most)) {
    throw ConfigError(
        "allocate",
        fmt::format("{} bits per element asked of method '{}'; with {} at {} bits it is "
                    "from {:.6g} to {:.6g}, scales included",
                    target_bits, kRatequantMethod, s.base, fmt::join(s.widths, ", "), least, most));
  }
  const std::vector<std::vector<double>> loss = losses(store, s, sensitivity);
  std::vector<std::vector<WidthChoice>> groups;
  for (std::size_t g = 0; g < loss.size(); ++g) {
    if (!shares[g]) continue;
    auto& choices = groups.emplace_back();
    for (std::size_t w = 0; w < s.widths.size(); ++w) choices.push_back({s.vector_bits[w], loss[g][w]});
  }
  RatequantPlan plan{.widths = std::vector<int>(loss.size(), 0)};
  if (groups.empty()) return plan;
  const double elements = static_cast<double>(groups.size()) * dim;
  // A budget written in decimals may fall short of the whole number that is meant by its rounding.
  const WidthAllocation found =
      allocate_widths(groups, static_cast<std::int64_t>(std::floor(target_bits * elements * (1 + 1e-12))));
  for (std::size_t g = 0, next = 0; g < loss.size(); ++g) {
    if (shares[g]) plan.widths[g] = s.widths[found.chosen[next++]];
  }
  plan.bits_per_element = static_cast<double>(found.bits) / elements;
  if (!has_measured_weights(store)) return plan;
  const std::vector<std::vector<double>> cost =
      sensitivity == "measured" ? loss : losses(store, s, "measured");
  plan.predicted_kl = 0;
  for (std::size_t g = 0, next = 0; g < loss.size(); ++g) {
    if (shares[g]) *plan.predicted_kl += cost[g][found.chosen[next++]];
  }
  return plan;
}

}  // namespace veloxquant
