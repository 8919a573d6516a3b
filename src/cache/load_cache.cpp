#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <optional>
#include <vector>
#include <veloxquant/core/error.hpp>
#include <veloxquant/io/safetensors.hpp>

#include "cache/cache_file.hpp"
#include "cache/cache_settings.hpp"
#include "cache/code_check.hpp"
#include "core/quote.hpp"

namespace veloxquant {
namespace {

// How far a decoded vector may lie from its check row, relative to its largest coordinate: vector
// instructions round decoded values differently, other tables or means lie far beyond.
constexpr float kCheckTolerance = 1e-3f;

class CacheReader {
 public:
  CacheReader(const CacheState& cache, const std::filesystem::path& path)
      : cache_(cache), path_(path.string()), file_(open_sealed_safetensors(path)) {}

  void check_settings() const {
    const std::string schema = metadata(kSchemaKey);
    if (schema != kCacheSchema) {
      fail(fmt::format("schema is {}, this version reads '{}'", quote(schema), kCacheSchema));
    }
    const std::string text = metadata("layer");
    int layer = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), layer);
    if (error != std::errc() || end != text.data() + text.size())
      fail(fmt::format("layer {} is no index", quote(text)));
    std::optional<KVCacheConfig> saved;
    try {
      saved = KVCacheConfig::from_json(metadata("config"));
    } catch (const ConfigError& e) {
      fail(fmt::format("its config is not served: {}", e.what()));
    }
    require_same_settings(*saved, layer, *cache_.config, cache_.layer, path_);
  }

  void read_dtypes(CacheState& into) const {
    const auto keys = dtype("dtype.keys"), values = dtype("dtype.values");
    into.has_dtype = keys && values;
    into.key_dtype = keys.value_or(DType::f32);
    into.value_dtype = values.value_or(DType::f32);
  }

  CacheRow read_row(std::size_t b) {
    const KVCacheOptions& o = cache_.options();
    CacheRow row = cache_.empty_row();
    row.size = extent(b, "positions", 0);
    read_positions(b, row);
    const std::int64_t exact = extent(b, "k_exact", 1);
    const RowCounts counts = row_counts(cache_, row.size, exact - std::min(row.size, o.sinks));
    if (counts.recent < 0 || counts.recent > std::min(o.recent, counts.coded)) {
      fail(fmt::format("row {} has {} exact tokens of {}, with {} sinks and a window of {}", b, exact,
                       row.size, o.sinks, o.recent));
    }
    row.recent_begin = std::max(o.sinks, row.size - counts.recent);
    read_codes(b, row, counts);
    read_exact(b, row, counts);
    if (counts.coded > 0) {
      check_codes(b, row, Role::keys, "k_check");
      check_codes(b, row, Role::values, "v_check");
    }
    return row;
  }

  // Every tensor of the file has been asked for.
  void check_nothing_left() const {
    for (const auto& [name, info] : file_.tensors()) {
      if (std::find(used_.begin(), used_.end(), name) == used_.end()) {
        fail(fmt::format("tensor {} does not belong there", quote(name)));
      }
    }
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw ArtifactError("load", fmt::format("saved cache '{}': {}", path_, what));
  }

  std::string metadata(const char* key) const {
    const auto found = file_.metadata().find(key);
    if (found == file_.metadata().end()) fail(fmt::format("no '{}' in the metadata", key));
    return found->second;
  }

  std::optional<DType> dtype(const char* key) const {
    const std::string text = metadata(key);
    for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
      if (text == to_string(type)) return type;
    }
    if (text != "none") fail(fmt::format("{} is {}, not f32, f16, bf16 or none", key, quote(text)));
    return std::nullopt;
  }

  // Extent of one axis of a row's tensor; 0 when the tensor is not there.
  std::int64_t extent(std::size_t b, const char* name, std::size_t axis) const {
    const auto found = file_.tensors().find(row_tensor_name(b, name));
    if (found == file_.tensors().end()) return 0;
    return axis < found->second.shape.size() ? found->second.shape[axis] : 0;
  }

  Tensor tensor(std::size_t b, const char* name, DType type, const Shape& shape) {
    const std::string full = row_tensor_name(b, name);
    const auto found = file_.tensors().find(full);
    if (found == file_.tensors().end()) fail(fmt::format("no tensor '{}'", full));
    if (found->second.dtype != type || found->second.shape != shape) {
      fail(fmt::format("tensor '{}' is {} {}, needs {} {}", full, to_string(found->second.dtype),
                       to_string(found->second.shape), to_string(type), to_string(shape)));
    }
    used_.push_back(full);
    return file_.tensor(full);
  }

  void read_positions(std::size_t b, CacheRow& row) {
    if (row.size == 0) return;
    const Tensor positions = tensor(b, "positions", DType::i64, {row.size});
    const std::span<const std::int64_t> values = positions.span<const std::int64_t>();
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (values[i] < 0 || values[i] >= kPositionLimit) {
        fail(fmt::format("position {} of token {} in row {}; positions are from 0 to below {}", values[i], i,
                         b, kPositionLimit));
      }
      if (i > 0 && values[i] <= values[i - 1]) {
        fail(
            fmt::format("position {} of token {} in row {} does not follow the one before", values[i], i, b));
      }
    }
    row.positions.reserve(0, values);
    row.positions.append(0, values);
  }

  // All sections are there and hold codes before the first page is taken: what the file claims costs nothing.
  void read_codes(std::size_t b, CacheRow& row, const RowCounts& counts) {
    const int heads = cache_.options().kv_heads;
    std::vector<std::pair<const CodeSection*, Tensor>> sections;
    for (const CodeSection& section : code_sections()) {
      const Shape shape = section_shape(cache_, section, counts.coded);
      if (std::find(shape.begin(), shape.end(), 0) != shape.end()) continue;
      sections.emplace_back(&section, tensor(b, section.name, DType::u8, shape));
      check_section(b, section, sections.back().second, counts.coded);
    }
    for (std::int64_t page = 0; page < pages_for(counts.coded); ++page) row.pages.add();
    for (const auto& [section, codes] : sections) {
      const auto* from = codes.data<const std::uint8_t>();
      for (int h = 0; h < heads; ++h) {
        const BlockLayout& layout = cache_.layout(h);
        for (std::int64_t first = 0; first < counts.coded; first += kPageTokens) {
          const std::size_t bytes =
              static_cast<std::size_t>(std::min<std::int64_t>(kPageTokens, counts.coded - first)) *
              section->bytes(layout);
          std::uint8_t* to = cache_.block(row.pages, first, h) + (layout.*section->offset)(0);
          if (layout.shares_gains() && section->offset == &BlockLayout::value_scales) {
            std::transform(to, to + bytes, from, to, shared_gains);  // keys come before values
          } else {
            std::memcpy(to, from, bytes);
          }
          from += bytes;
        }
      }
    }
    row.packed = counts.coded / kPageTokens;
    for (std::int64_t page = 0; page < row.packed; ++page) {
      for (int h = 0; h < heads; ++h) {
        std::uint8_t* block = cache_.block(row.pages, page * kPageTokens, h);
        pack_block(cache_.blocks[static_cast<std::size_t>(h)], block, block);
      }
    }
  }

  // Methods without a known code read their own bytes, gains apart, which pages keep in four bits.
  void check_section(std::size_t b, const CodeSection& section, const Tensor& bytes,
                     std::int64_t coded) const {
    const VectorQuantizer& method =
        section.role() == Role::keys ? *cache_.methods.keys : *cache_.methods.values;
    const auto* from = bytes.data<const std::uint8_t>();
    for (int h = 0; h < cache_.options().kv_heads; ++h) {
      const std::size_t vector = section.bytes(cache_.layout(h)),
                        size = static_cast<std::size_t>(coded) * vector;
      const std::span part{from, size};
      from += size;
      const CodeSpec* spec = method.code_spec(h);
      const bool scales = section.part == &VectorBytes::scales, gains = scales && method.gain_scale(h);
      if ((spec == nullptr && !gains) || size == 0) continue;
      const std::size_t at = gains    ? first_bad_gain(part)
                             : scales ? first_bad_scale(*spec, part)
                                      : first_bad_code(*spec, part);
      if (at == size) continue;
      fail(fmt::format("tensor '{}' holds no finite {} at head {}, coded token {}, byte {} of the vector",
                       row_tensor_name(b, section.name), scales ? "scale" : "value", h, at / vector,
                       at % vector));
    }
  }

  void read_exact(std::size_t b, CacheRow& row, const RowCounts& counts) {
    if (counts.exact() == 0) return;
    const KVCacheOptions& o = cache_.options();
    const Shape shape{o.kv_heads, counts.exact(), o.head_dim};
    const Tensor keys = tensor(b, "k_exact", DType::f32, shape),
                 values = tensor(b, "v_exact", DType::f32, shape);
    const std::size_t width = static_cast<std::size_t>(o.head_dim);
    const float* key = keys.data<const float>();
    const float* value = values.data<const float>();
    for (int h = 0; h < o.kv_heads; ++h) {
      for (std::int64_t i = 0; i < counts.exact(); ++i, key += width, value += width) {
        for (std::size_t c = 0; c < width; ++c) {
          if (!std::isfinite(key[c]) || !std::isfinite(value[c])) {
            fail(fmt::format("exact token {} of head {} in row {} is not finite", i, h, b));
          }
        }
        std::memcpy(row.exact.keys(h, counts.exact_token(i)), key, width * sizeof(float));
        std::memcpy(row.exact.values(h, counts.exact_token(i)), value, width * sizeof(float));
      }
    }
  }

  void check_codes(std::size_t b, const CacheRow& row, Role role, const char* name) {
    const KVCacheOptions& o = cache_.options();
    const Tensor wanted = tensor(b, name, DType::f32, {o.kv_heads, 1, o.head_dim});
    const Tensor decoded = decode_first(cache_, row, role);
    const std::span<const float> want = wanted.span<const float>(), have = decoded.span<const float>();
    const auto width = static_cast<std::size_t>(o.head_dim);
    for (std::size_t begin = 0; begin < want.size(); begin += width) {
      float largest = 0;
      for (std::size_t c = begin; c < begin + width; ++c) {
        if (!std::isfinite(want[c]))  // every code would be near enough
          fail(fmt::format("tensor '{}' holds {} (head {}, coordinate {})", row_tensor_name(b, name), want[c],
                           begin / width, c - begin));
        largest = std::max(largest, std::abs(want[c]));
      }
      for (std::size_t c = begin; c < begin + width; ++c) {
        if (std::abs(want[c] - have[c]) <= kCheckTolerance * largest) continue;
        fail(fmt::format(
            "codes of {} are read as {} where {} was meant (row {}, head {}, coordinate {}): the method's "
            "artifacts or tables are not those it was saved under",
            to_string(role), have[c], want[c], b, begin / width, c - begin));
      }
    }
  }

  const CacheState& cache_;
  std::string path_;
  SafetensorsFile file_;
  std::vector<std::string> used_;
};

}  // namespace

void load_cache(CacheState& cache, const std::filesystem::path& file) {
  CacheReader reader(cache, file);
  reader.check_settings();
  HeldVector<CacheRow> rows;
  rows.reserve(cache.rows.size());
  for (std::size_t b = 0; b < cache.rows.size(); ++b) rows.push_back(reader.read_row(b));
  reader.check_nothing_left();
  reader.read_dtypes(cache);
  cache.rows.swap(rows);
  ++cache.rewrites;
}

}  // namespace veloxquant
