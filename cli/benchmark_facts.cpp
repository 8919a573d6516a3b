#include "benchmark_facts.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>
#include <veloxquant/io/sharded_safetensors.hpp>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace veloxquant::cli {
namespace {

using Json = nlohmann::ordered_json;

// "bf16", or "bf16, f32" when a folder mixes them.
std::string weight_types(const std::filesystem::path& folder) {
  const ShardedSafetensors file = ShardedSafetensors::open(folder);
  std::set<std::string> types;
  for (const std::string& name : file.names()) types.insert(to_string(file.info(name).dtype));
  return fmt::format("{}", fmt::join(types, ", "));
}

// The last part of the path that has a name: "models/x/" is "x".
std::string folder_name(const std::filesystem::path& folder) {
  const auto whole = std::filesystem::absolute(folder).lexically_normal();
  return (whole.has_filename() ? whole : whole.parent_path()).filename().string();
}

}  // namespace

Json model_facts(const std::filesystem::path& folder, const Decoder& decoder) {
  const ModelConfig& c = decoder.config();
  return {{"name", folder_name(folder)},
          {"family", to_string(c.family)},
          {"layers", c.layers},
          {"hidden", c.hidden},
          {"heads", c.heads},
          {"kv_heads", c.kv_heads},
          {"head_dim", c.head_dim},
          {"vocab", c.vocab},
          {"max_position", c.max_position},
          {"weights", weight_types(folder)},
          {"fingerprint", decoder.fingerprint()}};
}

std::string text_hash(std::string_view text) {
  return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size()));
}

}  // namespace veloxquant::cli
