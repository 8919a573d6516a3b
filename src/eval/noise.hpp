// Synthetic content for caches: what a context of any length costs can be tried without a text of that
// length.
#pragma once

#include <cstdint>
#include <veloxquant/core/config.hpp>
#include <veloxquant/core/tensor.hpp>

#include "eval/passes.hpp"

namespace veloxquant {

// Keys and values of normal noise with a fixed seed, f32 [1, kv_heads, count, head_dim].
struct NoiseTokens {
  NoiseTokens(const KVCacheOptions& options, std::int64_t count);
  Tensor keys, values;
};

// Appends `tokens` tokens to every cache, as many at a time as there is noise; longer contexts repeat it.
void append_noise(const Caches& caches, const NoiseTokens& noise, std::int64_t tokens);

}  // namespace veloxquant
