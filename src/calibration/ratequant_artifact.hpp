// The artifact of the method `ratequant`: what a base method loses at each of its widths on a model's own keys and
// values, and what the loss of each group costs the model.
//
//     layers.<n>.<keys|values>.distortion   f32 [kv_heads, widths]   E|x - x'|^2 / E|x|^2, by ascending width
//     layers.<n>.<keys|values>.weight       f32 [kv_heads]           nats per unit of distortion, measured
//     layers.<n>.<keys|values>.proxy        f32 [kv_heads]           the same from norms, in no unit
//
// and the facts `base` (a method with its options), `widths`, `vector_bits` (what a vector takes at each width, scales
// included) and `sensitivity` (the weights that serve unless asked otherwise; `weight` is there only when they were
// measured). It serves any budget: the allocation is made when a method is created.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>
#include <veloxquant/core/artifact_store.hpp>
#include <veloxquant/core/config.hpp>

#include "calibration/model_groups.hpp"

namespace veloxquant {

inline constexpr const char* kRatequantMethod = "ratequant";
inline constexpr const char* kRatequantSchema = "veloxquant.ratequant/1";
// Option of the method and fact of the artifact: "measured" or "proxy".
inline constexpr const char* kSensitivityOption = "sensitivity";

// Of an artifact; base methods have up to 8.
inline constexpr std::size_t kMostWidths = 16;
inline constexpr int kWidestWidth = 32;

struct RatequantSettings {
  ModelGroups groups;
  std::string base;                       // "turboquant_mse", "affine:group=32"; without a width
  std::vector<int> widths;                // ascending
  std::vector<std::int64_t> vector_bits;  // by width, ascending
  std::string sensitivity = "measured";
  double target_bits = 2;
};

// The base method with its options. Throws ConfigError for an unknown one, one with a width, and one that spreads a
// budget of its own.
MethodSpec base_method(const std::string& base);

void write_settings(const RatequantSettings& settings, ArtifactStore& store);
// Throws ArtifactError naming the fact that is missing or has no meaning, and what base_method() throws.
RatequantSettings read_ratequant(const ArtifactStore& store);

// What the option kSensitivityOption says, or the artifacts.
std::string sensitivity_of(const QuantizerOptions& options, const RatequantSettings& settings);

struct RatequantPlan {
  std::vector<int> widths;      // by group; 0 for those that do not share the budget
  double bits_per_element = 0;  // of those that do, scales included; never above the target
  // Nats per token: the sum of weight * distortion, where the artifacts hold measured weights.
  std::optional<double> predicted_kl{};
};

// The exact allocation. `sensitivity` is "measured" or "proxy"; `shares` says by group whether it takes part. Throws
// ConfigError for a target outside of what the widths take, ArtifactError for tensors that are missing or bad.
RatequantPlan allocate_ratequant(const ArtifactStore& store, const RatequantSettings& settings,
                                 double target_bits, const std::string& sensitivity,
                                 const std::vector<bool>& shares);

}  // namespace veloxquant
