#include "calibration/vecinfer_artifact.hpp"

#include <fmt/format.h>

namespace veloxquant {

void write_settings(const VecInferSettings& s, ArtifactStore& store) {
  write_groups(s.groups, kVecInferMethod, kVecInferSchema, store);
  store.set_fact("seed", std::to_string(s.seed));
}

VecInferSettings read_vecinfer_settings(const ArtifactStore& store) {
  return {read_groups(store, kVecInferMethod, kVecInferSchema), read_seed(store, "seed", kVecInferMethod)};
}

std::string codebook_name(const ProductShape& shape) { return fmt::format("codebook{}", shape.bits); }

}  // namespace veloxquant
