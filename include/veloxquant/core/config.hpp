// KVCacheConfig: everything that determines a cache, validated when it is made.
//
// Keys and values are set apart, layers may differ, and the model's rotary embedding is part of the description
// because methods that turn keys back need it. A config travels as JSON (in saved caches, reports and on the
// command line); to_json() and from_json() are inverse.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <veloxquant/core/registry.hpp>

namespace veloxquant {

// The rotary position embedding of a model (arXiv:2104.09864): coordinate pair f of a key at position p is turned
// by the angle p * inverse_frequencies()[f].
struct RopeConfig {
  enum class Pairing : std::uint8_t { half_split, interleaved };  // (i, i + d/2) or (2i, 2i + 1)
  enum class Scaling : std::uint8_t { none, linear, llama3 };
  double theta = 10000.0;
  int rotary_dim = 0;  // coordinates that turn, from the first; even
  Pairing pairing = Pairing::half_split;
  Scaling scaling = Scaling::none;
  double factor = 1.0;                        // linear, llama3
  double low_freq_factor = 1.0;               // llama3
  double high_freq_factor = 4.0;              // llama3
  std::int64_t original_max_position = 8192;  // llama3

  // rotary_dim / 2 values, scaling applied (the Llama 3 rule interpolates between wavelengths).
  std::vector<float> inverse_frequencies() const;
  bool operator==(const RopeConfig&) const = default;
};

const char* to_string(RopeConfig::Pairing pairing) noexcept;  // "half_split", "interleaved"
const char* to_string(RopeConfig::Scaling scaling) noexcept;  // "none", "linear", "llama3"
// What turns vectors, and nothing else: "theta 10000, 64 coordinates half_split", "..., llama3 8 1 4 8192".
std::string to_string(const RopeConfig& rope);

// A method and its options for keys or for values.
struct MethodSpec {
  std::string method = "turboquant_mse";
  QuantizerOptions options{};

  // name[:width][:option=value]..., as "trellis:2", "affine:4:group=32"; methods with a budget take it in
  // place of a width, "spectral:1.5". What is left open keeps its default. The name of a preset stands for
  // its method. Throws ConfigError, also for an option given twice.
  static MethodSpec parse(const std::string& text);
  std::string to_string() const;
};

// Compositions for those who want a cache of some size and not a choice, by measurement on the probe models
// (docs/methods/spectral.md). All are of `spectral` and need its artifacts.
struct Preset {
  const char* name;
  const char* method;  // as MethodSpec::parse() takes it
  const char* summary;
};
std::span<const Preset> presets() noexcept;

struct LayerOverride {
  std::optional<MethodSpec> keys{}, values{};
};

inline constexpr int kMaxCachedHeadDim = 512;  // quantizers alone take more

struct KVCacheOptions {
  int layers = 1;
  int kv_heads = 0;
  int head_dim = 0;
  int batch = 1;
  MethodSpec keys{}, values{};
  std::map<int, LayerOverride> layer_overrides{};  // by layer index, from 0
  std::int64_t sinks = 0;                          // first tokens of every row kept exact (f32)
  std::int64_t recent = 0;                         // newest tokens of every row kept exact (f32)
  std::optional<RopeConfig> rope{};
  std::string model{};  // fingerprint of the model that the keys come from; may be empty
};

class KVCacheConfig {
 public:
  // Throws ConfigError that names the option, its value and the limit.
  explicit KVCacheConfig(KVCacheOptions options);
  const KVCacheOptions& options() const noexcept { return options_; }
  // The method of one layer, overrides applied, with head_dim, kv_heads and role filled in.
  MethodSpec method(int layer, Role role) const;

  std::string to_json() const;
  static KVCacheConfig from_json(const std::string& json);  // unknown keys are refused

 private:
  KVCacheOptions options_;
};

}  // namespace veloxquant
