#include "calibration/model_groups.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <veloxquant/core/error.hpp>

#include "core/quote.hpp"

namespace veloxquant {
namespace {

template <class T>
T parsed(const ArtifactStore& store, const std::string& name, const std::string& method) {
  const std::string& text = read_fact(store, name, method);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw ArtifactError(method, fmt::format("'{}' is {}, which is no number in range", name, quote(text)));
  }
  return value;
}

}  // namespace

const std::string& read_fact(const ArtifactStore& store, const std::string& name, const std::string& method) {
  const auto found = store.facts().find(name);
  if (found == store.facts().end()) {
    throw ArtifactError(
        method, fmt::format("the artifacts do not say '{}'; were they made for another method?", name));
  }
  return found->second;
}

double read_number(const ArtifactStore& store, const std::string& name, const std::string& method) {
  const auto value = parsed<double>(store, name, method);
  if (!std::isfinite(value))
    throw ArtifactError(method, fmt::format("'{}' is {}; it is finite", name, value));
  return value;
}

std::int64_t read_integer(const ArtifactStore& store, const std::string& name, const std::string& method,
                          std::int64_t least, std::int64_t most) {
  const auto value = parsed<std::int64_t>(store, name, method);
  if (value < least || value > most)
    throw ArtifactError(method, fmt::format("'{}' is {}; it is from {} to {}", name, value, least, most));
  return value;
}

std::uint64_t read_seed(const ArtifactStore& store, const std::string& name, const std::string& method) {
  return parsed<std::uint64_t>(store, name, method);
}

void write_groups(const ModelGroups& groups, const std::string& method, const std::string& schema,
                  ArtifactStore& store) {
  store.set_fact("method", method);
  store.set_fact("method_schema", schema);
  store.set_fact("model", groups.model);
  store.set_fact("layers", std::to_string(groups.layers));
  store.set_fact("kv_heads", std::to_string(groups.kv_heads));
  store.set_fact("head_dim", std::to_string(groups.head_dim));
}

ModelGroups read_groups(const ArtifactStore& store, const std::string& method, const std::string& schema) {
  const std::string &made_for = read_fact(store, "method", method),
                    &made_as = read_fact(store, "method_schema", method);
  if (made_for != method || made_as != schema) {
    throw ArtifactError(method, fmt::format("the artifacts are for the method {} ({}), needs '{}' ({})",
                                            quote(made_for), quote(made_as), method, schema));
  }
  constexpr int kMost = 4096;
  const auto number = [&](const char* name, int least) {
    return static_cast<int>(read_integer(store, name, method, least, kMost));
  };
  return {read_fact(store, "model", method), number("layers", 1), number("kv_heads", 1),
          number("head_dim", 2)};
}

std::string artifact_tensor(int layer, Role role, const std::string& what) {
  return fmt::format("layers.{}.{}.{}", layer, to_string(role), what);
}

}  // namespace veloxquant
