#include <fmt/format.h>

#include <cstring>
#include <vector>
#include <veloxquant/io/safetensors.hpp>

#include "cache/cache_file.hpp"

namespace veloxquant {
namespace {

Tensor positions_of(const CacheRow& row) {
  const Tensor tensor = Tensor::empty({row.size}, DType::i64);
  for (std::int64_t i = 0; i < row.size; ++i) tensor.data<std::int64_t>()[i] = row.positions.at(i);
  return tensor;
}

// From the pages, up to a page at a time.
Tensor codes_of(const CacheState& cache, const CacheRow& row, const CodeSection& section,
                std::int64_t coded) {
  const int heads = cache.options().kv_heads;
  const Tensor tensor = Tensor::empty(section_shape(cache, section, coded), DType::u8);
  auto* to = tensor.data<std::uint8_t>();
  std::vector<std::uint8_t> buffer(canonical_buffer(cache));
  for (int h = 0; h < heads; ++h) {
    for (std::int64_t first = 0; first < coded; first += kPageTokens) {
      const auto count = static_cast<int>(std::min<std::int64_t>(kPageTokens, coded - first));
      const CanonicalRows rows = canonical_rows(cache, row, h, section.role(), first, count, buffer.data());
      const std::size_t bytes = static_cast<std::size_t>(count) * section.bytes(cache.layout(h));
      if (bytes > 0) std::memcpy(to, section.part == &VectorBytes::codes ? rows.codes : rows.scales, bytes);
      to += bytes;
    }
  }
  return tensor;
}

Tensor exact_of(const CacheState& cache, const CacheRow& row, const RowCounts& counts, Role role) {
  const KVCacheOptions& o = cache.options();
  const Tensor tensor = Tensor::empty({o.kv_heads, counts.exact(), o.head_dim}, DType::f32);
  float* to = tensor.data<float>();
  for (int h = 0; h < o.kv_heads; ++h) {
    for (std::int64_t i = 0; i < counts.exact(); ++i, to += o.head_dim) {
      const std::int64_t token = counts.exact_token(i);
      const float* from = role == Role::keys ? row.exact.keys(h, token) : row.exact.values(h, token);
      std::memcpy(to, from, static_cast<std::size_t>(o.head_dim) * sizeof(float));
    }
  }
  return tensor;
}

void add_row(NamedTensors& tensors, const CacheState& cache, std::size_t b) {
  const CacheRow& row = cache.rows[b];
  const RowCounts counts =
      row_counts(cache, row.size, std::max<std::int64_t>(0, row.size - row.recent_begin));
  const auto add = [&](const char* name, Tensor tensor) {
    if (tensor.numel() != 0) tensors.emplace_back(row_tensor_name(b, name), std::move(tensor));
  };
  add("positions", positions_of(row));
  for (const CodeSection& section : code_sections())
    add(section.name, codes_of(cache, row, section, counts.coded));
  add("k_exact", exact_of(cache, row, counts, Role::keys));
  add("v_exact", exact_of(cache, row, counts, Role::values));
  if (counts.coded == 0) return;
  add("k_check", decode_first(cache, row, Role::keys));
  add("v_check", decode_first(cache, row, Role::values));
}

}  // namespace

RowCounts row_counts(const CacheState& cache, std::int64_t size, std::int64_t recent) noexcept {
  return {.size = size,
          .sinks = std::min(size, cache.options().sinks),
          .coded = cache.coded(size),
          .recent = recent};
}

std::string row_tensor_name(std::size_t row, const char* tensor) {
  return fmt::format("rows.{}.{}", row, tensor);
}

std::span<const CodeSection> code_sections() {
  static constexpr CodeSection kSections[] = {
      {"k_codes", &VectorBytes::codes, &BlockLayout::keys, &BlockLayout::key_codes},
      {"k_scales", &VectorBytes::scales, &BlockLayout::keys, &BlockLayout::key_scales},
      {"v_codes", &VectorBytes::codes, &BlockLayout::values, &BlockLayout::value_codes},
      {"v_scales", &VectorBytes::scales, &BlockLayout::values, &BlockLayout::value_scales}};
  return kSections;
}

Shape section_shape(const CacheState& cache, const CodeSection& section, std::int64_t coded) {
  const int heads = cache.options().kv_heads;
  const auto bytes = [&](int h) { return static_cast<std::int64_t>(section.bytes(cache.layout(h))); };
  std::int64_t all = 0;
  bool equal = true;
  for (int h = 0; h < heads; ++h) {
    all += bytes(h);
    equal = equal && bytes(h) == bytes(0);
  }
  return equal ? Shape{heads, coded, bytes(0)} : Shape{coded * all};
}

Tensor decode_first(const CacheState& cache, const CacheRow& row, Role role) {
  const KVCacheOptions& o = cache.options();
  const Tensor rows = Tensor::empty({o.kv_heads, 1, o.head_dim}, DType::f32);
  std::vector<std::uint8_t> buffer(canonical_buffer(cache));
  for (int h = 0; h < o.kv_heads; ++h) {
    const CanonicalRows first = canonical_rows(cache, row, h, role, 0, 1, buffer.data());
    float* to = rows.data<float>() + std::ptrdiff_t{h} * o.head_dim;
    if (role == Role::keys) {
      TokenPlace place;
      cache.key_places(row, 0, {&place, 1});
      cache.methods.keys->decode_rows_at(first.codes, first.scales, &place, 1, h, to);
    } else {
      cache.methods.values->decode_rows(first.codes, first.scales, 1, h, to);
    }
  }
  return rows;
}

void save_cache(const CacheState& cache, const std::filesystem::path& file) {
  NamedTensors tensors;
  for (std::size_t b = 0; b < cache.rows.size(); ++b) add_row(tensors, cache, b);
  write_sealed_safetensors(file, tensors,
                           {{kSchemaKey, kCacheSchema},
                            {"layer", std::to_string(cache.layer)},
                            {"config", cache.config->to_json()},
                            {"keys", cache.config->method(cache.layer, Role::keys).to_string()},
                            {"values", cache.config->method(cache.layer, Role::values).to_string()},
                            {"dtype.keys", cache.has_dtype ? to_string(cache.key_dtype) : "none"},
                            {"dtype.values", cache.has_dtype ? to_string(cache.value_dtype) : "none"}});
}

}  // namespace veloxquant
