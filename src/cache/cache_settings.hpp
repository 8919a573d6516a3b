// The settings that a saved cache and the cache that loads it must have in common.
#pragma once

#include <string>
#include <veloxquant/core/config.hpp>

namespace veloxquant {

// Throws ArtifactError naming the first setting in which the configs differ for this layer, and both values.
// How many layers there are and what the other layers do makes no difference.
void require_same_settings(const KVCacheConfig& saved, int saved_layer, const KVCacheConfig& own,
                           int own_layer, const std::string& file);

}  // namespace veloxquant
