// The method `ratequant`: a base method whose width is chosen for every layer, KV head, and keys or values, by one
// exact allocation of a bit budget (docs/methods/ratequant.md).
#pragma once

#include <memory>
#include <vector>
#include <veloxquant/core/registry.hpp>
#include <veloxquant/quantizers/vector_quantizer.hpp>

namespace veloxquant {

MethodInfo ratequant_info();
// Throws ArtifactError when the context has no artifacts for this model, layer and method, ConfigError for a budget
// that the widths cannot meet, and what the base method throws.
std::shared_ptr<const Quantizer> make_ratequant(const QuantizerOptions& options);

// The base method `base` at each width, for the vectors that `options` describes. Throws UnsupportedError when a
// vector's bytes depend on the head.
std::vector<std::shared_ptr<const VectorQuantizer>> base_at_widths(const std::string& base,
                                                                   const std::vector<int>& widths,
                                                                   const QuantizerOptions& options);

}  // namespace veloxquant
