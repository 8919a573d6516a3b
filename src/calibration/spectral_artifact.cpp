#include "calibration/spectral_artifact.hpp"

#include <fmt/format.h>

#include <charconv>
#include <veloxquant/core/error.hpp>

namespace veloxquant {
namespace {

const std::string& fact(const ArtifactStore& store, const std::string& name) {
  const auto found = store.facts().find(name);
  if (found == store.facts().end()) {
    throw ArtifactError(
        "spectral", fmt::format("the artifacts do not say '{}'; were they made for another method?", name));
  }
  return found->second;
}

template <class T>
T number(const ArtifactStore& store, const std::string& name) {
  const std::string& text = fact(store, name);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw ArtifactError("spectral", fmt::format("'{}' is '{}', which is no number in range", name, text));
  }
  return value;
}

}  // namespace

void write_settings(const SpectralSettings& s, ArtifactStore& store) {
  store.set_fact("method", kSpectralMethod);
  store.set_fact("method_schema", kSpectralSchema);
  store.set_fact("model", s.model);
  store.set_fact("layers", std::to_string(s.layers));
  store.set_fact("kv_heads", std::to_string(s.kv_heads));
  store.set_fact("head_dim", std::to_string(s.head_dim));
  store.set_fact("frame", std::to_string(s.frame));
  store.set_fact("code", to_string(s.code));
  store.set_fact("gain", s.gain ? "true" : "false");
  store.set_fact("target_bits", fmt::format("{}", s.target_bits));
}

SpectralSettings read_settings(const ArtifactStore& store) {
  if (fact(store, "method") != kSpectralMethod || fact(store, "method_schema") != kSpectralSchema) {
    throw ArtifactError("spectral", fmt::format("the artifacts are for the method '{}' ({}), needs '{}' ({})",
                                                fact(store, "method"), fact(store, "method_schema"),
                                                kSpectralMethod, kSpectralSchema));
  }
  SpectralSettings s;
  s.model = fact(store, "model");
  s.layers = number<int>(store, "layers");
  s.kv_heads = number<int>(store, "kv_heads");
  s.head_dim = number<int>(store, "head_dim");
  s.frame = number<std::int64_t>(store, "frame");
  s.code = run_code_from(fact(store, "code"));
  s.gain = fact(store, "gain") == "true";
  s.target_bits = number<double>(store, "target_bits");
  if (s.layers < 1 || s.kv_heads < 1 || s.head_dim < 2 || s.frame < 0) {
    throw ArtifactError("spectral",
                        fmt::format("{} layers, {} KV heads of {} and frames of {} tokens have no meaning",
                                    s.layers, s.kv_heads, s.head_dim, s.frame));
  }
  return s;
}

std::string spectral_tensor(int layer, Role role, const char* what) {
  return fmt::format("layers.{}.{}.{}", layer, to_string(role), what);
}

Tensor spectral_tensor(const ArtifactStore& store, int layer, Role role, const char* what,
                       const Shape& shape) {
  return store.floats(spectral_tensor(layer, role, what), kSpectralMethod, shape);
}

std::size_t group_index(const SpectralSettings& s, int layer, Role role, int head) {
  return static_cast<std::size_t>((layer * 2 + (role == Role::values ? 1 : 0)) * s.kv_heads + head);
}

std::vector<AllocationGroup> allocation_groups(const ArtifactStore& store, const SpectralSettings& s) {
  std::vector<AllocationGroup> groups;
  for (int layer = 0; layer < s.layers; ++layer) {
    for (const Role role : {Role::keys, Role::values}) {
      const Tensor lambda = spectral_tensor(store, layer, role, "lambda", {s.kv_heads, s.head_dim});
      const Tensor weight = spectral_tensor(store, layer, role, "weight", {s.kv_heads});
      for (int head = 0; head < s.kv_heads; ++head) {
        const float* row = lambda.data<const float>() + static_cast<std::ptrdiff_t>(head) * s.head_dim;
        groups.push_back({{row, row + s.head_dim},
                          static_cast<double>(weight.data<const float>()[head]),
                          kRunStep,
                          layer * s.kv_heads + head});
      }
    }
  }
  return groups;
}

}  // namespace veloxquant
