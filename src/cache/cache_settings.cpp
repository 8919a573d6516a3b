#include "cache/cache_settings.hpp"

#include <fmt/format.h>

#include <utility>
#include <vector>
#include <veloxquant/core/error.hpp>

#include "core/quote.hpp"

namespace veloxquant {
namespace {

// Settings by name, as text.
using Settings = std::vector<std::pair<std::string, std::string>>;

void add_method(Settings& settings, const std::string& role, const MethodSpec& spec) {
  const QuantizerOptions& o = spec.options;
  std::string extra;
  for (const auto& [key, value] : o.extra) extra += fmt::format("{}={} ", key, value);
  settings.insert(settings.end(),
                  {{role + ".method", spec.method},
                   {role + ".bits", std::to_string(o.bits)},
                   {role + ".scale", to_string(o.scale)},
                   {role + ".transform", o.transform.empty() ? "the method's own" : o.transform},
                   {role + ".group", std::to_string(o.group)},
                   {role + ".seed", std::to_string(o.seed)},
                   {role + ".centre", o.centre ? "true" : "false"},
                   {role + ".extra", extra}});
}

void add_rope(Settings& settings, const std::optional<RopeConfig>& rope) {
  settings.emplace_back("rope", rope ? "given" : "not given");
  const RopeConfig r = rope.value_or(RopeConfig{});
  settings.insert(settings.end(), {{"rope.theta", fmt::format("{}", r.theta)},
                                   {"rope.rotary_dim", std::to_string(r.rotary_dim)},
                                   {"rope.pairing", to_string(r.pairing)},
                                   {"rope.scaling", to_string(r.scaling)},
                                   {"rope.factor", fmt::format("{}", r.factor)},
                                   {"rope.low_freq_factor", fmt::format("{}", r.low_freq_factor)},
                                   {"rope.high_freq_factor", fmt::format("{}", r.high_freq_factor)},
                                   {"rope.original_max_position", std::to_string(r.original_max_position)}});
}

// Always the same names in the same order.
Settings settings_of(const KVCacheConfig& config, int layer) {
  const KVCacheOptions& o = config.options();
  Settings settings{{"model", o.model},
                    {"layer", std::to_string(layer)},
                    {"batch", std::to_string(o.batch)},
                    {"kv_heads", std::to_string(o.kv_heads)},
                    {"head_dim", std::to_string(o.head_dim)},
                    {"sinks", std::to_string(o.sinks)},
                    {"recent", std::to_string(o.recent)}};
  add_method(settings, "keys", config.method(layer, Role::keys));
  add_method(settings, "values", config.method(layer, Role::values));
  add_rope(settings, o.rope);
  return settings;
}

}  // namespace

void require_same_settings(const KVCacheConfig& saved, int saved_layer, const KVCacheConfig& own,
                           int own_layer, const std::string& file) {
  const Settings theirs = settings_of(saved, saved_layer), ours = settings_of(own, own_layer);
  for (std::size_t i = 0; i < ours.size(); ++i) {
    if (theirs[i].second == ours[i].second) continue;
    throw ArtifactError("load",
                        fmt::format("'{}' was saved under other settings: {} is {} there and {} here", file,
                                    ours[i].first, quote(theirs[i].second), quote(ours[i].second)));
  }
}

}  // namespace veloxquant
