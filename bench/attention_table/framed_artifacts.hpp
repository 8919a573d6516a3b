// What calibration would have found out about noise: random bases and means for keys in RoPE frames and for
// values, and spectra for which the allocation gives every vector the same runs.
#pragma once

#include <cstdint>
#include <memory>
#include <veloxquant/calibration/run_code.hpp>
#include <veloxquant/core/artifact_store.hpp>
#include <veloxquant/core/config.hpp>

#include "filled_cache.hpp"

namespace veloxquant::bench {

// For `spectral` with frames of so many tokens, keys turned by `rope`. Of 128 coordinates 16 take 4 bits, 32 take 3, 48 take 2 and 32 none:
// 2 bits on average, and the gain.
std::shared_ptr<const ArtifactStore> framed_artifacts(const LayerShape& shape, const RopeConfig& rope,
                                                      std::int64_t frame, RunCode code);

}  // namespace veloxquant::bench
