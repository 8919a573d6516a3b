#include "calibration/spectral_artifact.hpp"

#include <fmt/format.h>

#include <veloxquant/core/error.hpp>

#include "core/quote.hpp"

namespace veloxquant {

void write_settings(const SpectralSettings& s, ArtifactStore& store) {
  write_groups(s.groups(), kSpectralMethod, kSpectralSchema, store);
  store.set_fact("frame", std::to_string(s.frame));
  store.set_fact("code", to_string(s.code));
  store.set_fact("gain", s.gain ? "true" : "false");
  store.set_fact("target_bits", fmt::format("{}", s.target_bits));
  store.set_fact("rope", s.rope);
}

SpectralSettings read_settings(const ArtifactStore& store) {
  const ModelGroups groups = read_groups(store, kSpectralMethod, kSpectralSchema);
  SpectralSettings s;
  s.model = groups.model;
  s.layers = groups.layers;
  s.kv_heads = groups.kv_heads;
  s.head_dim = groups.head_dim;
  s.frame = read_integer(store, "frame", kSpectralMethod, 0, kEndlessFrame);
  s.code = run_code_from(read_fact(store, "code", kSpectralMethod));
  const std::string& gain = read_fact(store, "gain", kSpectralMethod);
  if (gain != "true" && gain != "false")
    throw ArtifactError(kSpectralMethod, fmt::format("'gain' is {}; it is true or false", quote(gain)));
  s.gain = gain == "true";
  s.target_bits = read_number(store, "target_bits", kSpectralMethod);
  s.rope = read_fact(store, "rope", kSpectralMethod);
  return s;
}

std::string spectral_tensor(int layer, Role role, const char* what) {
  return artifact_tensor(layer, role, what);
}

Tensor spectral_tensor(const ArtifactStore& store, int layer, Role role, const char* what,
                       const Shape& shape) {
  return store.floats(spectral_tensor(layer, role, what), kSpectralMethod, shape);
}

void check_spectral(const ArtifactStore& store) {
  const SpectralSettings s = read_settings(store);
  if (!(s.target_bits >= kLeastTarget && s.target_bits <= kWidestCode)) {
    throw ArtifactError(kSpectralMethod, fmt::format("'target_bits' is {}; it is from {} to {}",
                                                     s.target_bits, kLeastTarget, kWidestCode));
  }
  const Shape rows{s.kv_heads, s.head_dim}, matrices{s.kv_heads, s.head_dim, s.head_dim};
  for (int layer = 0; layer < s.layers; ++layer) {
    for (const Role role : {Role::keys, Role::values}) {
      for (const char* what : {"mean", "lambda"}) spectral_tensor(store, layer, role, what, rows);
      for (const char* what : {"basis", "inverse"}) spectral_tensor(store, layer, role, what, matrices);
    }
  }
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
