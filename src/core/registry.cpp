#include <veloxquant/core/registry.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <mutex>
#include <veloxquant/core/config.hpp>
#include <veloxquant/core/error.hpp>

#include "core/dispatch.hpp"
#include "core/quote.hpp"
#include "quantizers/builtin.hpp"

namespace veloxquant {
namespace {

struct Entry {
  QuantizerMaker make;
  MethodInfo info;
};

// The built-in methods are in it from the first use on, whoever that is: a user's method that registers
// itself at start-up cannot take a name of theirs, and a static library cannot lose them at link time.
struct Table {
  Table() {
    for (BuiltinMethod& method : builtin_methods())
      entries.emplace(method.name, Entry{std::move(method.make), std::move(method.info)});
  }
  std::mutex mutex;
  std::map<std::string, Entry> entries;
};

Table& table() {
  static Table table;
  return table;
}

// The caller holds the lock.
std::vector<std::string> names_in(const Table& t) {
  std::vector<std::string> names;
  names.reserve(t.entries.size());
  for (const auto& [name, value] : t.entries) names.push_back(name);
  return names;
}

Entry entry(const std::string& name) {
  Table& t = table();
  const std::lock_guard lock(t.mutex);
  const auto found = t.entries.find(name);
  if (found == t.entries.end()) {
    std::vector<std::string> known;
    for (const Preset& preset : presets()) known.emplace_back(preset.name);
    throw ConfigError("registry",
                      fmt::format("unknown method {}; known are {}, and the presets {}", quote(name),
                                  fmt::join(names_in(t), ", "), fmt::join(known, ", ")));
  }
  return found->second;
}

// Options that differ from their defaults must be among those that the method takes.
void refuse_foreign_options(const std::string& name, const MethodInfo& info, const QuantizerOptions& o) {
  const QuantizerOptions plain;
  const auto refuse = [&](const char* option, const std::string& value) {
    throw ConfigError(
        "create",
        fmt::format("method '{}' does not take the option {} (asked for {}); it takes {}{}{}", name,
                    quote(option), quote(value), info.takes_budget() ? "" : "bits",
                    info.options.empty() || info.takes_budget() ? "" : ", ", fmt::join(info.options, ", ")));
  };
  if (o.bits != plain.bits && info.takes_budget()) refuse("bits", std::to_string(o.bits));
  if (o.scale != plain.scale && !info.takes("scale")) refuse("scale", to_string(o.scale));
  if (!o.transform.empty() && !info.takes("transform")) refuse("transform", o.transform);
  if (o.group != plain.group && !info.takes("group")) refuse("group", std::to_string(o.group));
  if (o.seed != plain.seed && !info.takes("seed")) refuse("seed", std::to_string(o.seed));
  if (o.seed != plain.seed && !info.uses_seed(o)) {
    throw ConfigError("create",
                      fmt::format("seed {} for method '{}' without a random transform; ask for one with "
                                  "transform=hadamard or haar",
                                  o.seed, name));
  }
  if (o.centre && !info.takes("centre")) refuse("centre", "true");
  for (const auto& [key, value] : o.extra) {
    if (!info.takes(key)) refuse(key.c_str(), value);
  }
}

}  // namespace

bool MethodInfo::takes(const std::string& option) const {
  return std::find(options.begin(), options.end(), option) != options.end();
}

bool MethodInfo::uses_seed(const QuantizerOptions& o) const {
  return takes("seed") && (!takes("transform") || (o.transform.empty() ? transform : o.transform) != "none");
}

void MethodInfo::require_width(const std::string& method, int width, const std::string& operation) const {
  if (bits.empty() || std::find(bits.begin(), bits.end(), width) != bits.end()) return;
  throw ConfigError(operation, fmt::format("method '{}' has no width of {} bits; it has {}", method, width,
                                           fmt::join(bits, ", ")));
}

const char* to_string(ScaleMode mode) noexcept {
  switch (mode) {
    case ScaleMode::one:
      return "one";
    case ScaleMode::matched:
      return "matched";
    case ScaleMode::unbiased:
      return "unbiased";
  }
  return "unknown";
}

ScaleMode scale_mode_from(const std::string& name) {
  for (const ScaleMode mode : {ScaleMode::one, ScaleMode::matched, ScaleMode::unbiased}) {
    if (name == to_string(mode)) return mode;
  }
  throw ConfigError("scale",
                    fmt::format("unknown scale mode {}; known are one, matched, unbiased", quote(name)));
}

const char* to_string(Role role) noexcept { return role == Role::keys ? "keys" : "values"; }

void QuantizerRegistry::add(const std::string& name, QuantizerMaker make, MethodInfo info) {
  if (name.empty() || name.find_first_of(":,/ \t\n") != std::string::npos) {
    throw ConfigError(
        "registry",
        fmt::format("'{}' is no method name; a name is not empty and has no ':', ',', '/' or space", name));
  }
  if (!make) throw ConfigError("registry", fmt::format("method '{}' comes without a maker", name));
  std::sort(info.bits.begin(), info.bits.end());
  Table& t = table();
  const std::lock_guard lock(t.mutex);
  const bool preset = std::ranges::any_of(presets(), [&](const Preset& p) { return name == p.name; });
  if (preset || !t.entries.emplace(name, Entry{std::move(make), std::move(info)}).second) {
    throw ConfigError("registry",
                      fmt::format("method '{}' is registered already; choose another name", name));
  }
}

bool QuantizerRegistry::contains(const std::string& name) {
  Table& t = table();
  const std::lock_guard lock(t.mutex);
  return t.entries.contains(name);
}

MethodInfo QuantizerRegistry::info(const std::string& name) { return entry(name).info; }

std::vector<std::string> QuantizerRegistry::names() {
  Table& t = table();
  const std::lock_guard lock(t.mutex);
  return names_in(t);
}

std::shared_ptr<const Quantizer> QuantizerFactory::create(const std::string& name,
                                                          const QuantizerOptions& options) {
  obey_cpu_environment();  // an unknown level is refused before anything is made
  const Entry found = entry(name);
  const MethodInfo& info = found.info;
  info.require_width(name, options.bits, "create");
  if (options.head_dim < 2 || options.head_dim > 4096 || options.head_dim % 2 != 0) {
    throw ConfigError("create",
                      fmt::format("head_dim {} for method '{}'; it is an even number from 2 to 4096",
                                  options.head_dim, name));
  }
  refuse_foreign_options(name, info, options);
  auto quantizer = found.make(options);
  if (quantizer == nullptr)
    throw ConfigError("create", fmt::format("the maker of method '{}' returned nothing", name));
  return quantizer;
}

}  // namespace veloxquant
