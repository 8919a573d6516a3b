#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string_view>
#include <veloxquant/core/config.hpp>
#include <veloxquant/core/error.hpp>

#include "core/quote.hpp"
#include "core/strict_json.hpp"

namespace veloxquant {
namespace {

// Ordered objects find a member by a walk over all, so they serve writing alone.
using Json = nlohmann::json;
using Written = nlohmann::ordered_json;

constexpr const char* kOperation = "config";

template <class Enum, std::size_t N>
Enum enum_from(const std::string& text, const std::pair<const char*, Enum> (&names)[N], const char* what) {
  for (const auto& [name, value] : names) {
    if (text == name) return value;
  }
  throw ConfigError(kOperation, fmt::format("unknown {} {}", what, quote(text)));
}

template <class Enum, std::size_t N>
const char* enum_name(Enum value, const std::pair<const char*, Enum> (&names)[N]) {
  for (const auto& [name, candidate] : names) {
    if (candidate == value) return name;
  }
  return "unknown";
}

constexpr std::pair<const char*, RopeConfig::Pairing> kPairings[] = {
    {"half_split", RopeConfig::Pairing::half_split}, {"interleaved", RopeConfig::Pairing::interleaved}};
constexpr std::pair<const char*, RopeConfig::Scaling> kScalings[] = {{"none", RopeConfig::Scaling::none},
                                                                     {"linear", RopeConfig::Scaling::linear},
                                                                     {"llama3", RopeConfig::Scaling::llama3}};

void refuse_unknown_keys(const Json& json, std::initializer_list<std::string_view> known, const char* where) {
  if (!json.is_object())
    throw ConfigError(kOperation, fmt::format("{} is {}, not an object", where, shown_json(json)));
  for (const auto& [key, value] : json.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      throw ConfigError(kOperation, fmt::format("unknown key {} in {}; known are {}", quote(key), where,
                                                fmt::join(known, ", ")));
    }
  }
}

// Reads json[key] into `value` when it is there.
template <class T>
void read(const Json& json, const char* key, T& value) {
  const auto found = json.find(key);
  if (found == json.end()) return;
  bool right = true;
  if constexpr (std::is_same_v<T, bool>)
    right = found->is_boolean();
  else if constexpr (std::is_unsigned_v<T>)
    right = found->is_number_unsigned();
  else if constexpr (std::is_integral_v<T>)
    right = found->is_number_integer();
  else if constexpr (std::is_floating_point_v<T>)
    right = found->is_number();
  else
    right = found->is_string();
  if constexpr (std::is_same_v<T, int>) {
    right = right && found->template get<std::int64_t>() >= INT32_MIN &&
            found->template get<std::int64_t>() <= INT32_MAX;
  }
  if (!right)
    throw ConfigError(
        kOperation, fmt::format("'{}' has the value {} of the wrong type or range", key, shown_json(*found)));
  value = found->template get<T>();
}

Written method_to_json(const MethodSpec& spec) {
  const QuantizerOptions& o = spec.options;
  Written json = {{"method", spec.method},    {"bits", o.bits},   {"scale", to_string(o.scale)},
                  {"transform", o.transform}, {"group", o.group}, {"seed", o.seed},
                  {"centre", o.centre}};
  if (!o.extra.empty()) json["extra"] = o.extra;
  return json;
}

MethodSpec method_from_json(const Json& json) {
  refuse_unknown_keys(json, {"method", "bits", "scale", "transform", "group", "seed", "centre", "extra"},
                      "a method");
  MethodSpec spec;
  std::string scale = to_string(spec.options.scale);
  read(json, "method", spec.method);
  read(json, "bits", spec.options.bits);
  read(json, "scale", scale);
  read(json, "transform", spec.options.transform);
  read(json, "group", spec.options.group);
  read(json, "seed", spec.options.seed);
  read(json, "centre", spec.options.centre);
  spec.options.scale = scale_mode_from(scale);
  if (const auto extra = json.find("extra"); extra != json.end()) {
    if (!extra->is_object())
      throw ConfigError(kOperation, fmt::format("'extra' is {}, not an object", shown_json(*extra)));
    for (const auto& [key, value] : extra->items()) {
      if (!value.is_string())
        throw ConfigError(kOperation,
                          fmt::format("extra option {} is {}, not a text", quote(key), shown_json(value)));
      spec.options.extra[key] = value.get<std::string>();
    }
  }
  return spec;
}

Written rope_to_json(const RopeConfig& r) {
  return {{"theta", r.theta},
          {"rotary_dim", r.rotary_dim},
          {"pairing", to_string(r.pairing)},
          {"scaling", to_string(r.scaling)},
          {"factor", r.factor},
          {"low_freq_factor", r.low_freq_factor},
          {"high_freq_factor", r.high_freq_factor},
          {"original_max_position", r.original_max_position}};
}

RopeConfig rope_from_json(const Json& json) {
  refuse_unknown_keys(json,
                      {"theta", "rotary_dim", "pairing", "scaling", "factor", "low_freq_factor",
                       "high_freq_factor", "original_max_position"},
                      "rope");
  RopeConfig r;
  std::string pairing = "half_split", scaling = "none";
  read(json, "theta", r.theta);
  read(json, "rotary_dim", r.rotary_dim);
  read(json, "pairing", pairing);
  read(json, "scaling", scaling);
  read(json, "factor", r.factor);
  read(json, "low_freq_factor", r.low_freq_factor);
  read(json, "high_freq_factor", r.high_freq_factor);
  read(json, "original_max_position", r.original_max_position);
  r.pairing = enum_from(pairing, kPairings, "pairing");
  r.scaling = enum_from(scaling, kScalings, "rope scaling");
  return r;
}

}  // namespace

const char* to_string(RopeConfig::Pairing pairing) noexcept { return enum_name(pairing, kPairings); }
const char* to_string(RopeConfig::Scaling scaling) noexcept { return enum_name(scaling, kScalings); }

std::string to_string(const RopeConfig& r) {
  std::string text = fmt::format("theta {}, {} coordinates {}", r.theta, r.rotary_dim, to_string(r.pairing));
  if (r.scaling == RopeConfig::Scaling::none) return text;
  text += fmt::format(", {} {}", to_string(r.scaling), r.factor);
  if (r.scaling == RopeConfig::Scaling::llama3)
    text += fmt::format(" {} {} {}", r.low_freq_factor, r.high_freq_factor, r.original_max_position);
  return text;
}

std::string KVCacheConfig::to_json() const {
  const KVCacheOptions& o = options_;
  Written json = {{"layers", o.layers},
                  {"kv_heads", o.kv_heads},
                  {"head_dim", o.head_dim},
                  {"batch", o.batch},
                  {"keys", method_to_json(o.keys)},
                  {"values", method_to_json(o.values)},
                  {"sinks", o.sinks},
                  {"recent", o.recent},
                  {"model", o.model}};
  json["layer_overrides"] = Written::object();
  for (const auto& [layer, change] : o.layer_overrides) {
    Written& entry = json["layer_overrides"][std::to_string(layer)] = Written::object();
    if (change.keys) entry["keys"] = method_to_json(*change.keys);
    if (change.values) entry["values"] = method_to_json(*change.values);
  }
  json["rope"] = o.rope ? rope_to_json(*o.rope) : Written(nullptr);
  return json.dump();
}

KVCacheConfig KVCacheConfig::from_json(const std::string& text) {
  const Json json = parse_strict_json(
      text, [](const std::string& what) { throw ConfigError(kOperation, "the text " + what); });
  refuse_unknown_keys(json,
                      {"layers", "kv_heads", "head_dim", "batch", "keys", "values", "sinks", "recent",
                       "model", "layer_overrides", "rope"},
                      "the config");
  KVCacheOptions o;
  read(json, "layers", o.layers);
  read(json, "kv_heads", o.kv_heads);
  read(json, "head_dim", o.head_dim);
  read(json, "batch", o.batch);
  read(json, "sinks", o.sinks);
  read(json, "recent", o.recent);
  read(json, "model", o.model);
  if (json.contains("keys")) o.keys = method_from_json(json["keys"]);
  if (json.contains("values")) o.values = method_from_json(json["values"]);
  if (json.contains("rope") && !json["rope"].is_null()) o.rope = rope_from_json(json["rope"]);
  if (json.contains("layer_overrides")) {
    for (const auto& [key, entry] : json["layer_overrides"].items()) {
      refuse_unknown_keys(entry, {"keys", "values"}, "a layer override");
      int layer = -1;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), layer);
      if (error != std::errc() || end != key.data() + key.size()) {
        throw ConfigError(kOperation, fmt::format("layer override {} is no layer index", quote(key)));
      }
      LayerOverride& change = o.layer_overrides[layer];
      if (entry.contains("keys")) change.keys = method_from_json(entry["keys"]);
      if (entry.contains("values")) change.values = method_from_json(entry["values"]);
    }
  }
  return KVCacheConfig(std::move(o));
}

}  // namespace veloxquant
