// The method `vecinfer`: smoothed and rotated keys, product codes with trained codebooks
// (Yao et al., arXiv:2510.06175; docs/methods/vecinfer.md).
#pragma once

#include <memory>
#include <veloxquant/core/registry.hpp>

namespace veloxquant {

MethodInfo vecinfer_info();
// Throws ArtifactError when the context has no artifacts for this model, layer and method.
std::shared_ptr<const Quantizer> make_vecinfer(const QuantizerOptions& options);

}  // namespace veloxquant
