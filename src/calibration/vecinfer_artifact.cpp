#include "calibration/vecinfer_artifact.hpp"

#include <fmt/format.h>

#include <charconv>
#include <veloxquant/core/error.hpp>

namespace veloxquant {
namespace {

const std::string& fact(const ArtifactStore& store, const std::string& name) {
  const auto found = store.facts().find(name);
  if (found == store.facts().end()) {
    throw ArtifactError(
        kVecInferMethod,
        fmt::format("the artifacts do not say '{}'; were they made for another method?", name));
  }
  return found->second;
}

template <class T>
T number(const ArtifactStore& store, const std::string& name) {
  const std::string& text = fact(store, name);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw ArtifactError(kVecInferMethod,
                        fmt::format("'{}' is '{}', which is no number in range", name, text));
  }
  return value;
}

}  // namespace

void write_settings(const VecInferSettings& s, ArtifactStore& store) {
  store.set_fact("method", kVecInferMethod);
  store.set_fact("method_schema", kVecInferSchema);
  store.set_fact("model", s.model);
  store.set_fact("layers", std::to_string(s.layers));
  store.set_fact("kv_heads", std::to_string(s.kv_heads));
  store.set_fact("head_dim", std::to_string(s.head_dim));
  store.set_fact("seed", std::to_string(s.seed));
}

VecInferSettings read_vecinfer_settings(const ArtifactStore& store) {
  if (fact(store, "method") != kVecInferMethod || fact(store, "method_schema") != kVecInferSchema) {
    throw ArtifactError(
        kVecInferMethod,
        fmt::format("the artifacts are for the method '{}' ({}), needs '{}' ({})", fact(store, "method"),
                    fact(store, "method_schema"), kVecInferMethod, kVecInferSchema));
  }
  VecInferSettings s{fact(store, "model"), number<int>(store, "layers"), number<int>(store, "kv_heads"),
                     number<int>(store, "head_dim"), number<std::uint64_t>(store, "seed")};
  if (s.layers < 1 || s.kv_heads < 1 || s.head_dim < 2) {
    throw ArtifactError(kVecInferMethod, fmt::format("{} layers and {} KV heads of {} have no meaning",
                                                     s.layers, s.kv_heads, s.head_dim));
  }
  return s;
}

std::string vecinfer_tensor(int layer, Role role, const std::string& what) {
  return fmt::format("layers.{}.{}.{}", layer, to_string(role), what);
}

std::string codebook_name(const ProductShape& shape) { return fmt::format("codebook{}", shape.bits); }

}  // namespace veloxquant
