// The artifact of the method `vecinfer`: tensors per layer and role, and the facts that bind them.
//
//     layers.<n>.<keys|values>.mean          f32 [kv_heads, head_dim]
//     layers.<n>.keys.smooth                 f32 [kv_heads, head_dim]          what keys are divided by
//     layers.<n>.<keys|values>.codebook<b>   f32 [kv_heads, centroids, dims]   for b = 1, 2, 3 bits
//
// Means are of the vectors as they are cached, centroids of rotated vectors of root mean square one.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <veloxquant/core/artifact_store.hpp>

#include "calibration/model_groups.hpp"

namespace veloxquant {

inline constexpr const char* kVecInferMethod = "vecinfer";
inline constexpr const char* kVecInferSchema = "veloxquant.vecinfer/1";
// The range of the factors that keys are divided by; the least is that of channels which are zero in the text.
inline constexpr float kLeastFactor = 1e-4f, kLargestFactor = 1e4f;

// How a width is coded: `index_bits` for each sub-vector of `dims` coordinates.
struct ProductShape {
  int bits, index_bits, dims;
};
inline constexpr std::array<ProductShape, 3> kProductShapes = {{{1, 8, 8}, {2, 8, 4}, {3, 12, 4}}};

struct VecInferSettings {
  ModelGroups groups;
  std::uint64_t seed = 0;  // of the rotation and of the training
};

void write_settings(const VecInferSettings& settings, ArtifactStore& store);
// Throws ArtifactError naming the fact that is missing or has no meaning.
VecInferSettings read_vecinfer_settings(const ArtifactStore& store);

// "codebook2"
std::string codebook_name(const ProductShape& shape);

}  // namespace veloxquant
