#include <veloxquant/core/config.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <set>
#include <veloxquant/core/error.hpp>

#include "core/quote.hpp"

namespace veloxquant {
namespace {

template <class T>
T parse_number(const std::string& text, const std::string& what) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw ConfigError("method", fmt::format("{} {} is not a whole number in range", what, quote(text)));
  }
  return value;
}

// A fraction is no slip of the hand: some methods have budgets.
int parse_width(const std::string& method, const MethodInfo& info, const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && value != std::floor(value)) {
    throw ConfigError("method", fmt::format("{}:{}: {} has whole widths, {}", method, text, method,
                                            fmt::join(info.bits, ", ")));
  }
  return parse_number<int>(text, "width");
}

void set_option(QuantizerOptions& o, const std::string& key, const std::string& value) {
  if (key == "scale")
    o.scale = scale_mode_from(value);
  else if (key == "transform")
    o.transform = value;
  else if (key == "group")
    o.group = parse_number<int>(value, "group");
  else if (key == "seed")
    o.seed = parse_number<std::uint64_t>(value, "seed");
  else if (key == "centre" && (value == "true" || value == "false"))
    o.centre = value == "true";
  else if (key == "centre")
    throw ConfigError("method", fmt::format("centre is true or false, not {}", quote(value)));
  else
    o.extra[key] = value;
}

template <class T>
void require(bool good, const char* option, const T& value, const std::string& limit) {
  if (!good) throw ConfigError("config", fmt::format("{} is {}; {}", option, value, limit));
}

}  // namespace

std::vector<float> RopeConfig::inverse_frequencies() const {
  std::vector<float> result(static_cast<std::size_t>(rotary_dim / 2));
  for (std::size_t i = 0; i < result.size(); ++i) {
    // theta^(-2i/d) in the element type that model code uses, f32.
    const float base = 1.0f / std::pow(static_cast<float>(theta),
                                       2.0f * static_cast<float>(i) / static_cast<float>(rotary_dim));
    double frequency = base;
    if (scaling == Scaling::linear) frequency /= factor;
    if (scaling == Scaling::llama3) {
      const double wavelength = 2.0 * std::numbers::pi / frequency;
      const auto original = static_cast<double>(original_max_position);
      if (wavelength > original / low_freq_factor) {
        frequency /= factor;
      } else if (wavelength >= original / high_freq_factor) {
        const double smooth =
            (original / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
        frequency = (1.0 - smooth) * frequency / factor + smooth * frequency;
      }
    }
    result[i] = static_cast<float>(frequency);
  }
  return result;
}

std::span<const Preset> presets() noexcept {
  static constexpr Preset kPresets[] = {
      {"small", "spectral:1.5", "a tenth of fp16, where memory decides"},
      {"balanced", "spectral:2.25", "a seventh of fp16, the usual choice"},
      {"safe", "spectral:3", "a fifth of fp16, where every token counts"},
  };
  return kPresets;
}

MethodSpec MethodSpec::parse(const std::string& text) {
  for (const Preset& preset : presets()) {
    if (text == preset.name) return parse(preset.method);
  }
  MethodSpec spec;
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(':', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  spec.method = parts[0];
  const MethodInfo info = QuantizerRegistry::info(spec.method);
  // Without a width: the method's only one, or 4 bits.
  if (info.bits.size() == 1) spec.options.bits = info.bits[0];
  std::set<std::string> written;  // options, and the width as an option without a name
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const std::size_t equals = parts[i].find('=');
    const bool is_budget = equals == std::string::npos && info.takes_budget();
    if (!written.insert(is_budget ? kBudgetOption : parts[i].substr(0, std::min(equals, parts[i].size())))
             .second) {
      throw ConfigError("method", fmt::format("{} gives an option twice: {}", quote(text), quote(parts[i])));
    }
    if (equals != std::string::npos)
      set_option(spec.options, parts[i].substr(0, equals), parts[i].substr(equals + 1));
    else if (i == 1 && info.takes_budget())
      spec.options.extra[kBudgetOption] = parts[i];
    else if (i == 1)
      spec.options.bits = parse_width(spec.method, info, parts[i]);
    else
      throw ConfigError("method", fmt::format("{} in {}; a method is written name:bits:option=value",
                                              quote(parts[i]), quote(text)));
  }
  return spec;
}

std::string MethodSpec::to_string() const {
  const QuantizerOptions plain;
  const auto budget = options.extra.find(kBudgetOption);
  std::string text =
      QuantizerRegistry::info(method).takes_budget() ? method : fmt::format("{}:{}", method, options.bits);
  if (budget != options.extra.end()) text += ":" + budget->second;
  if (options.scale != plain.scale) text += fmt::format(":scale={}", veloxquant::to_string(options.scale));
  if (!options.transform.empty()) text += ":transform=" + options.transform;
  if (options.group != 0) text += fmt::format(":group={}", options.group);
  if (options.seed != 0) text += fmt::format(":seed={}", options.seed);
  if (options.centre) text += ":centre=true";
  for (const auto& [key, value] : options.extra) {
    if (key != kBudgetOption) text += fmt::format(":{}={}", key, value);
  }
  return text;
}

KVCacheConfig::KVCacheConfig(KVCacheOptions options) : options_(std::move(options)) {
  const KVCacheOptions& o = options_;
  require(o.layers >= 1 && o.layers <= 65536, "layers", o.layers, "it is from 1 to 65536");
  require(o.kv_heads >= 1 && o.kv_heads <= 65536, "kv_heads", o.kv_heads, "it is from 1 to 65536");
  require(o.head_dim >= 2 && o.head_dim <= kMaxCachedHeadDim && o.head_dim % 2 == 0, "head_dim", o.head_dim,
          fmt::format("it is even and from 2 to {}", kMaxCachedHeadDim));
  require(o.batch >= 1 && o.batch <= 65536, "batch", o.batch, "it is from 1 to 65536");
  require(o.sinks >= 0 && o.sinks <= 1 << 20, "sinks", o.sinks, "it is from 0 to 1048576");
  require(o.recent >= 0 && o.recent <= 1 << 20, "recent", o.recent, "it is from 0 to 1048576");
  for (const auto& [layer, change] : o.layer_overrides) {
    require(layer >= 0 && layer < o.layers, "layer_overrides", layer,
            "it names a layer that the model does not have");
  }
  if (o.rope) {
    const RopeConfig& r = *o.rope;
    require(r.rotary_dim >= 2 && r.rotary_dim <= o.head_dim && r.rotary_dim % 2 == 0, "rope.rotary_dim",
            r.rotary_dim, "it is even, from 2 to head_dim");
    require(std::isfinite(r.theta) && r.theta > 1, "rope.theta", r.theta, "it is above 1");
    require(std::isfinite(r.factor) && r.factor > 0, "rope.factor", r.factor, "it is above 0");
    if (r.scaling == RopeConfig::Scaling::llama3) {
      require(r.low_freq_factor > 0 && r.high_freq_factor > r.low_freq_factor, "rope.high_freq_factor",
              r.high_freq_factor, "it is above low_freq_factor, which is above 0");
      require(r.original_max_position >= 1, "rope.original_max_position", r.original_max_position,
              "it is 1 or more");
    }
  }
  // Unknown names and widths are refused before any cache exists; the rest is checked when the methods are made.
  for (int layer = 0; layer < o.layers; ++layer) {
    for (const Role role : {Role::keys, Role::values}) {
      const MethodSpec spec = method(layer, role);
      QuantizerRegistry::info(spec.method)
          .require_width(spec.method, spec.options.bits,
                         fmt::format("config, {} of layer {}", veloxquant::to_string(role), layer));
    }
    if (o.layer_overrides.empty()) break;  // all layers are alike
  }
}

MethodSpec KVCacheConfig::method(int layer, Role role) const {
  MethodSpec spec = role == Role::keys ? options_.keys : options_.values;
  if (const auto found = options_.layer_overrides.find(layer); found != options_.layer_overrides.end()) {
    const auto& change = role == Role::keys ? found->second.keys : found->second.values;
    if (change) spec = *change;
  }
  spec.options.head_dim = options_.head_dim;
  spec.options.kv_heads = options_.kv_heads;
  spec.options.role = role;
  return spec;
}

}  // namespace veloxquant
