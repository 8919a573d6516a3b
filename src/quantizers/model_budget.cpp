#include "quantizers/model_budget.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <veloxquant/core/config.hpp>
#include <veloxquant/core/error.hpp>

#include "core/quote.hpp"

namespace veloxquant {
namespace {

int layer_index(const std::string& method, const std::string& name) {
  constexpr std::string_view kPrefix = "layers.";
  int layer = -1;
  const char* const end = name.data() + name.size();
  if (!name.starts_with(kPrefix) || std::from_chars(name.data() + kPrefix.size(), end, layer).ptr != end ||
      layer < 0) {
    throw ConfigError("create",
                      fmt::format("method '{}' works in a layer of a model, not in {}", method, quote(name)));
  }
  return layer;
}

}  // namespace

const QuantizationContext& require_artifacts(const std::string& method, const QuantizerOptions& o) {
  if (o.context == nullptr || o.context->artifacts == nullptr) {
    throw ArtifactError(
        "create",
        fmt::format("method '{0}' needs what `veloxquant precompute --method {0}` found out about the "
                    "model, and there are no artifacts (benchmark: --artifacts)",
                    method));
  }
  return *o.context;
}

int require_layer(const std::string& method, const ModelGroups& groups, const QuantizerOptions& o) {
  const int layer = layer_index(method, o.context->layer_name);
  if (groups.head_dim != o.head_dim || groups.kv_heads != o.kv_heads || layer >= groups.layers) {
    throw ArtifactError(
        "create",
        fmt::format("the artifacts are for {} layers, {} KV heads of {}; layer {} with {} KV heads of "
                    "{} was asked for",
                    groups.layers, groups.kv_heads, groups.head_dim, layer, o.kv_heads, o.head_dim));
  }
  const auto& config = o.context->config;
  if (config && config->options().layers != groups.layers) {
    throw ArtifactError("create",
                        fmt::format("the artifacts are for {} layers, the model has {}; run precompute on "
                                    "this model",
                                    groups.layers, config->options().layers));
  }
  if (config && !config->options().model.empty() && config->options().model != groups.model) {
    throw ArtifactError("create", fmt::format("the artifacts are of the model {}, the cache is of {}; run "
                                              "precompute on this model",
                                              quote(groups.model), config->options().model));
  }
  return layer;
}

double budget_of(const std::string& method, const QuantizerOptions& o, double otherwise) {
  const auto found = o.extra.find(kBudgetOption);
  if (found == o.extra.end()) return otherwise;
  const std::string& text = found->second;
  double target = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), target);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw ConfigError("create", fmt::format("{} bits asked of method '{}'; it takes a number such as 1.5",
                                            quote(text), method));
  }
  return target;
}

std::vector<bool> budget_sharing(const std::string& method, const ModelGroups& groups,
                                 const QuantizerOptions& o) {
  std::vector<bool> shares(groups.count(), true);
  const auto& config = o.context->config;
  if (config == nullptr) return shares;
  for (int layer = 0; layer < std::min(groups.layers, config->options().layers); ++layer) {
    for (const Role role : {Role::keys, Role::values}) {
      const MethodSpec spec = config->method(layer, role);
      const bool same = spec.method == method && spec.options.extra == o.extra;
      for (int head = 0; head < groups.kv_heads; ++head) shares[groups.index(layer, role, head)] = same;
    }
  }
  const int own = layer_index(method, o.context->layer_name);
  if (own >= groups.layers || !shares[groups.index(own, o.role, 0)]) {
    throw ConfigError("create",
                      fmt::format("method '{}' for the {} of layer {}, to which the config gives another "
                                  "method or budget",
                                  method, to_string(o.role), own));
  }
  return shares;
}

}  // namespace veloxquant
