// The file of a saved cache: one sealed safetensors file (io/safetensors.hpp).
//
// Metadata
//     veloxquant.schema    "veloxquant.cache/1"
//     layer                the layer's index
//     config               KVCacheConfig::to_json()
//     keys, values         the layer's methods in short, for people ("turboquant_mse:4")
//     veloxquant.version   who wrote it; read by nobody
//     dtype.keys           element type that state() gives back, and dtype.values
//
// Tensors of row b of the batch (n tokens, c = max(0, n - sinks) of them with codes, e of them exact); empty
// ones are left out
//     rows.<b>.positions   i64 [n]
//     rows.<b>.k_codes     u8  [kv_heads, c, code bytes of a key]      canonical order, tokens sinks .. n - 1
//     rows.<b>.k_scales    u8  [kv_heads, c, scale bytes of a key]     likewise v_codes, v_scales
//     rows.<b>.k_exact     f32 [kv_heads, e, head_dim]                 sinks, then the recent window
//     rows.<b>.k_check     f32 [kv_heads, 1, head_dim]                 the first coded token, decoded
// and v_exact, v_check likewise. Where the KV heads of a method take unequal bytes, codes and scales are u8 [bytes], the
// heads one after the other.
//
// The check rows catch what the settings cannot say: calibration artifacts or code tables that are not those
// under which the cache was filled.
#pragma once

#include <cstdint>
#include <string>
#include <vector>
#include <veloxquant/core/tensor.hpp>

#include "cache/cache_state.hpp"

namespace veloxquant {

inline constexpr const char* kSchemaKey = "veloxquant.schema";
inline constexpr const char* kCacheSchema = "veloxquant.cache/1";

// How many tokens of a row are where.
struct RowCounts {
  std::int64_t size, sinks, coded, recent;

  std::int64_t exact() const noexcept { return sinks + recent; }
  // History index of exact token `i`.
  std::int64_t exact_token(std::int64_t i) const noexcept { return i < sinks ? i : size - exact() + i; }
};

// Of a row of `size` tokens of which `recent` are read exact in the window.
RowCounts row_counts(const CacheState& cache, std::int64_t size, std::int64_t recent) noexcept;
std::string row_tensor_name(std::size_t row, const char* tensor);

// The sections of a block by tensor name.
struct CodeSection {
  const char* name;
  std::size_t VectorBytes::*part;  // codes or scales
  VectorBytes (BlockLayout::*side)() const noexcept;
  std::size_t (BlockLayout::*offset)(std::size_t slot) const noexcept;

  // Of one token.
  std::size_t bytes(const BlockLayout& layout) const noexcept { return (layout.*side)().*part; }
};
std::span<const CodeSection> code_sections();
// The shape of a section's tensor for `coded` tokens.
Shape section_shape(const CacheState& cache, const CodeSection& section, std::int64_t coded);

// The first coded token of every head, decoded: f32 [kv_heads, 1, head_dim].
Tensor decode_first(const CacheState& cache, const CacheRow& row, Role role);

}  // namespace veloxquant
