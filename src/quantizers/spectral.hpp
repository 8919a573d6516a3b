// The method `spectral`: calibrated transforms and one bit allocation over a whole model
// (docs/methods/spectral.md).
#pragma once

#include <memory>
#include <veloxquant/core/registry.hpp>

namespace veloxquant {

MethodInfo spectral_info();
// Throws ArtifactError when the context has no artifacts for this model, layer and method, ConfigError for a
// target out of range, UnsupportedError for what the artifacts do not fit.
std::shared_ptr<const Quantizer> make_spectral(const QuantizerOptions& options);

}  // namespace veloxquant
