#include "benchmark_facts.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace veloxquant::cli {
namespace {

using Json = nlohmann::ordered_json;

// The last part of the path that has a name: "models/x/" is "x".
std::string folder_name(const std::filesystem::path& folder) {
  const auto whole = std::filesystem::absolute(folder).lexically_normal();
  return (whole.has_filename() ? whole : whole.parent_path()).filename().string();
}

}  // namespace

std::string weight_types(const ShardedSafetensors& file) {
  std::set<std::string> types;
  for (const std::string& name : file.names()) types.insert(to_string(file.info(name).dtype));
  return fmt::format("{}", fmt::join(types, ", "));
}

Json shape_facts(const ModelConfig& c) {
  return {{"family", to_string(c.family)},
          {"layers", c.layers},
          {"hidden", c.hidden},
          {"heads", c.heads},
          {"kv_heads", c.kv_heads},
          {"head_dim", c.head_dim},
          {"vocab", c.vocab},
          {"max_position", c.max_position}};
}

Json model_facts(const std::filesystem::path& folder, const Decoder& decoder) {
  Json facts = {{"name", folder_name(folder)}};
  facts.update(shape_facts(decoder.config()));
  facts["weights"] = weight_types(ShardedSafetensors::open(folder));
  facts["fingerprint"] = decoder.fingerprint();
  return facts;
}

std::string text_hash(std::string_view text) {
  return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size()));
}

}  // namespace veloxquant::cli
