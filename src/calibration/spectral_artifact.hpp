// The artifact of the method `spectral`: one set of tensors per layer and role, and the facts that bind them.
//
//     layers.<n>.<keys|values>.mean      f32 [kv_heads, head_dim]             keys: before RoPE
//     layers.<n>.<keys|values>.basis     f32 [kv_heads, head_dim, head_dim]   row c gives coordinate c
//     layers.<n>.<keys|values>.inverse   f32 [kv_heads, head_dim, head_dim]   row c: what coordinate c adds
//     layers.<n>.<keys|values>.lambda    f32 [kv_heads, head_dim]             variances, descending
//     layers.<n>.<keys|values>.weight    f32 [kv_heads]                       nats per squared error
//
// The fact `rope` is the rotary embedding (to_string(RopeConfig)) in which keys were turned back: artifacts serve no
// other. The fact `method` tells these means from those that centring subtracts, which are of keys after RoPE.
// It stores what was found out about the model and serves any budget: the allocation is made when a method is
// created.
#pragma once

#include <string>
#include <vector>
#include <veloxquant/core/artifact_store.hpp>
#include <veloxquant/core/config.hpp>

#include "calibration/allocation.hpp"
#include "calibration/model_groups.hpp"

namespace veloxquant {

inline constexpr const char* kSpectralMethod = "spectral";
inline constexpr const char* kSpectralSchema = "veloxquant.spectral/1";
// Frames of keys that are coded after RoPE: one without end.
inline constexpr std::int64_t kEndlessFrame = std::int64_t{1} << 40;

struct SpectralSettings {
  std::string model;  // fingerprint
  int layers = 0, kv_heads = 0, head_dim = 0;
  std::int64_t frame = 64;  // tokens of a RoPE frame; 0: none, keys are coded after RoPE
  RunCode code = RunCode::trellis;
  bool gain = true;
  double target_bits = 2;
  std::string rope;  // to_string(RopeConfig)

  ModelGroups groups() const { return {model, layers, kv_heads, head_dim}; }
};

void write_settings(const SpectralSettings& settings, ArtifactStore& store);
// Throws ArtifactError naming the fact that is missing or has no meaning.
SpectralSettings read_settings(const ArtifactStore& store);

std::string spectral_tensor(int layer, Role role, const char* what);
// As ArtifactStore::floats().
Tensor spectral_tensor(const ArtifactStore& store, int layer, Role role, const char* what,
                       const Shape& shape);

inline constexpr int kRunStep = 8;  // coordinates that share a width: runs begin on whole bytes

// What making the method checks, of all layers: throws ArtifactError for tensors that are missing, of another
// shape or not finite, and for facts without a meaning, a budget that cannot be met among them.
void check_spectral(const ArtifactStore& store);

// By group, as ModelGroups orders them.
std::vector<AllocationGroup> allocation_groups(const ArtifactStore& store, const SpectralSettings& settings);

}  // namespace veloxquant
