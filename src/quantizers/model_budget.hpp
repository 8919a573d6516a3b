// What methods that are calibrated on a model ask of their surroundings: the artifacts and the layer; and
// those that spread one bit budget over it, the budget and which groups share it.
#pragma once

#include <string>
#include <vector>
#include <veloxquant/core/context.hpp>
#include <veloxquant/core/registry.hpp>

#include "calibration/model_groups.hpp"

namespace veloxquant {

// A context that has artifacts. Throws ArtifactError that says how `method` gets them.
const QuantizationContext& require_artifacts(const std::string& method, const QuantizerOptions& options);

// The layer that the context names. Throws ConfigError when it names none, ArtifactError when the artifacts are
// for other layers, heads or head sizes, or of another model than the context's config.
int require_layer(const std::string& method, const ModelGroups& groups, const QuantizerOptions& options);

// The option kBudgetOption; throws ConfigError when it is no number.
double budget_of(const std::string& method, const QuantizerOptions& options, double otherwise);

// By group: whether its layer and role have this method with the same options, and so share the budget. Without a
// config all do. Throws ConfigError when the config has another method for the context's own layer.
std::vector<bool> budget_sharing(const std::string& method, const ModelGroups& groups,
                                 const QuantizerOptions& options);

}  // namespace veloxquant
