#include <fmt/format.h>
#include <fmt/ranges.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <string_view>

#include "models/weights.hpp"

namespace veloxquant {
namespace {

// Everything of the config that changes results. The order is part of the fingerprint: saved caches hold it.
std::string essentials(const ModelConfig& c) {
  const RopeConfig& r = c.rope;
  return fmt::format("{} {} {} {} {} {} {} {} {:a} | {:a} {} {} {:a} {:a} {:a} {} | {} {} {} {} {} | {}",
                     to_string(c.family), c.hidden, c.intermediate, c.layers, c.heads, c.kv_heads, c.head_dim,
                     c.vocab, c.rms_norm_eps, r.theta, r.rotary_dim, static_cast<int>(r.scaling), r.factor,
                     r.low_freq_factor, r.high_freq_factor, r.original_max_position, c.tie_word_embeddings,
                     c.qkv_bias, c.output_bias, c.mlp_bias, c.qk_norm, fmt::join(c.windows, " "));
}

class Hash {
 public:
  Hash() { XXH3_128bits_reset(&state_); }
  void add(std::string_view bytes) { XXH3_128bits_update(&state_, bytes.data(), bytes.size()); }
  std::string hex() const {
    const XXH128_hash_t hash = XXH3_128bits_digest(&state_);
    return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
  }

 private:
  XXH3_state_t state_;
};

}  // namespace

std::string model_fingerprint(const ModelConfig& config, const ShardedSafetensors& file) {
  Hash hash;
  hash.add(essentials(config));
  for (const auto& [name, shape] : weight_shapes(config)) {
    const Tensor weights = file.tensor(name);
    hash.add(fmt::format("\n{} {} {}\n", name, to_string(weights.dtype()), to_string(shape)));
    hash.add({static_cast<const char*>(weights.raw()), weights.nbytes()});
  }
  return hash.hex();
}

}  // namespace veloxquant
