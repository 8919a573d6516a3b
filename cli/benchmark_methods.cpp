#include "benchmark_methods.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <veloxquant/core/error.hpp>

#include "core/quote.hpp"
#include "text_layout.hpp"

namespace veloxquant::cli {
namespace {

const char* const kBaselines[] = {"fp16", "q8_0", "q4_0:4:transform=hadamard", "affine:4",
                                  "turboquant_mse:4"};

bool writes_width(const std::string& text) {
  const std::size_t colon = text.find(':');
  return colon != std::string::npos &&
         text.substr(colon + 1, text.find(':', colon + 1) - colon - 1).find('=') == std::string::npos;
}

bool writes_option(const std::string& text, const std::string& option) {
  return text.find(":" + option + "=") != std::string::npos;
}

// Which defaults found a method that takes them.
struct Used {
  bool bits = false, value_bits = false, scale = false;
};

void require_known(const std::string& text) {
  const std::string method = text.substr(0, text.find(':'));
  for (const Preset& preset : presets()) {
    if (method != preset.name || text == method) continue;
    const std::string whole = preset.method;
    throw ConfigError(
        "methods", fmt::format("{} is a preset for {} and takes no width and no options; write {}", method,
                               whole, quote(whole.substr(0, whole.find(':')) + text.substr(method.size()))));
  }
  std::vector<std::string> known = QuantizerRegistry::names();
  for (const Preset& preset : presets()) known.emplace_back(preset.name);
  if (std::ranges::find(known, method) != known.end()) return;
  const auto near = nearest(method, known);
  throw ConfigError("methods",
                    fmt::format("unknown method {}; {}", quote(method),
                                near ? fmt::format("did you mean {}? `veloxquant list` shows all", *near)
                                     : fmt::format("known are {}", fmt::join(known, ", "))));
}

MethodSpec make_spec(const std::string& text, Role role, const MethodDefaults& defaults, Used& used) {
  require_known(text);
  MethodSpec spec = MethodSpec::parse(text);
  const MethodInfo info = QuantizerRegistry::info(spec.method);
  const bool has_widths = info.bits.size() != 1;
  const bool is_written = writes_width(text) || writes_option(text, kBudgetOption);
  const auto set_width = [&](const char* flag, double bits) {
    if (info.takes_budget()) {
      spec.options.extra[kBudgetOption] = fmt::format("{}", bits);
      return;
    }
    if (bits != std::floor(bits)) {
      throw ConfigError("methods", fmt::format("{} {}: {} has whole widths, {}", flag, bits, spec.method,
                                               fmt::join(info.bits, ", ")));
    }
    spec.options.bits = static_cast<int>(bits);
  };
  if (defaults.bits && has_widths && !is_written) {
    set_width("--bits", *defaults.bits);
    used.bits = true;
  }
  if (defaults.value_bits && has_widths && role == Role::values) {
    set_width("--value-bits", *defaults.value_bits);
    used.value_bits = true;
  }
  if (defaults.scale && info.takes("scale") && !writes_option(text, "scale")) {
    spec.options.scale = *defaults.scale;
    used.scale = true;
  }
  if (defaults.seed && info.uses_seed(spec.options) && !writes_option(text, "seed"))
    spec.options.seed = *defaults.seed;
  return spec;
}

BenchmarkMethod make_method(const std::string& text, const MethodDefaults& defaults, Used& used) {
  const std::size_t slash = text.find('/');
  const std::string keys = text.substr(0, slash);
  const std::string values = slash == std::string::npos ? keys : text.substr(slash + 1);
  BenchmarkMethod method{make_spec(keys, Role::keys, defaults, used),
                         make_spec(values, Role::values, defaults, used)};
  if (slash != std::string::npos && defaults.value_bits && writes_width(values) &&
      method.values.to_string() != MethodSpec::parse(values).to_string()) {
    throw ConfigError("methods", fmt::format("--value-bits {} contradicts the width written in {}",
                                             *defaults.value_bits, quote(text)));
  }
  return method;
}

bool contains(const std::vector<BenchmarkMethod>& methods, const BenchmarkMethod& method) {
  return std::any_of(methods.begin(), methods.end(),
                     [&](const auto& other) { return other.name() == method.name(); });
}

void require_used(bool given, bool used, const char* flag, const char* kind) {
  if (given && !used)
    throw ConfigError("methods", fmt::format("{} was given, and none of the methods {}", flag, kind));
}

}  // namespace

void add_width_options(CLI::App& command, double& bits, double& value_bits) {
  command
      .add_option(
          "--bits", bits,
          "width of the methods written without one, or their budget (default: the method's own, else 4)")
      ->check(CLI::Range(0.125, 32.0));
  command.add_option("--value-bits", value_bits, "the same for values (default: as keys)")
      ->check(CLI::Range(0.125, 32.0));
}

std::vector<BenchmarkMethod> asked_methods(const std::vector<std::string>& texts,
                                           const MethodDefaults& defaults) {
  std::vector<BenchmarkMethod> methods;
  Used used;
  for (const std::string& text : texts) {
    BenchmarkMethod method = make_method(text, defaults, used);
    if (!contains(methods, method)) methods.push_back(std::move(method));
  }
  require_used(defaults.bits.has_value(), used.bits, "--bits",
               "has several widths and is written without one");
  require_used(defaults.value_bits.has_value(), used.value_bits, "--value-bits", "has several widths");
  require_used(defaults.scale.has_value(), used.scale, "--scale",
               "has a scale per vector and is written without its mode");
  return methods;
}

void require_calibrated(const std::vector<BenchmarkMethod>& methods) {
  const auto calibrated = [](const MethodSpec& spec) {
    return spec.options.centre || QuantizerRegistry::info(spec.method).reads_artifacts;
  };
  const bool used = std::any_of(methods.begin(), methods.end(), [&](const BenchmarkMethod& method) {
    return calibrated(method.keys) || calibrated(method.values);
  });
  require_used(true, used, "--artifacts", "is calibrated");
}

std::vector<BenchmarkMethod> baseline_methods(const std::vector<BenchmarkMethod>& asked,
                                              const MethodDefaults& defaults) {
  std::vector<BenchmarkMethod> methods;
  Used used;
  for (const char* text : kBaselines) {
    BenchmarkMethod method = make_method(text, {.seed = defaults.seed}, used);
    if (!contains(asked, method)) methods.push_back(std::move(method));
  }
  return methods;
}

}  // namespace veloxquant::cli
