// The groups of a model, which calibration is about and budgets are spread over: what each KV head of each layer
// codes of a token, its key or its value. And the facts that bind an artifact to a method and a model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <veloxquant/core/artifact_store.hpp>
#include <veloxquant/core/registry.hpp>

namespace veloxquant {

// In the order of layers, keys before values, heads.
struct ModelGroups {
  std::string model;  // fingerprint
  int layers = 0, kv_heads = 0, head_dim = 0;

  std::size_t count() const noexcept { return static_cast<std::size_t>(layers * 2 * kv_heads); }
  std::size_t index(int layer, Role role, int head) const noexcept {
    return static_cast<std::size_t>((layer * 2 + (role == Role::values ? 1 : 0)) * kv_heads + head);
  }
  int layer_of(std::size_t group) const noexcept { return static_cast<int>(group) / kv_heads / 2; }
  Role role_of(std::size_t group) const noexcept {
    return static_cast<int>(group) / kv_heads % 2 == 1 ? Role::values : Role::keys;
  }
  int head_of(std::size_t group) const noexcept { return static_cast<int>(group) % kv_heads; }
};

// The facts `method`, `method_schema`, `model`, `layers`, `kv_heads` and `head_dim`.
void write_groups(const ModelGroups& groups, const std::string& method, const std::string& schema,
                  ArtifactStore& store);
// Throws ArtifactError when the artifacts are of another method or schema, and for facts that are missing or have no
// meaning.
ModelGroups read_groups(const ArtifactStore& store, const std::string& method, const std::string& schema);

// Throws ArtifactError, in the name of `method`, when the fact is not there.
const std::string& read_fact(const ArtifactStore& store, const std::string& name, const std::string& method);
// The same for a fact that is a whole number from `least` to `most`, any finite number, or any 64 bits.
std::int64_t read_integer(const ArtifactStore& store, const std::string& name, const std::string& method,
                          std::int64_t least, std::int64_t most);
double read_number(const ArtifactStore& store, const std::string& name, const std::string& method);
std::uint64_t read_seed(const ArtifactStore& store, const std::string& name, const std::string& method);

// The artifact of the means that `centre=true` takes out of cached vectors: layers.<n>.<keys|values>.mean,
// f32 [kv_heads, head_dim].
inline constexpr const char* kMeanMethod = "mean";
inline constexpr const char* kMeanSchema = "veloxquant.mean/1";

// "layers.<n>.<keys|values>.<what>"
std::string artifact_tensor(int layer, Role role, const std::string& what);

}  // namespace veloxquant
