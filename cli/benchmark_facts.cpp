#include "benchmark_facts.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cctype>
#include <ctime>
#include <set>
#include <thread>
#include <veloxquant/core/cpu.hpp>
#include <veloxquant/io/sharded_safetensors.hpp>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace veloxquant::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string kernel() {
  utsname name{};
  return uname(&name) == 0 ? fmt::format("{} {} {}", name.sysname, name.release, name.machine) : "unknown";
}

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

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

Json environment_facts(int threads) {
  return {{"cpu", cpu_name()},
          {"cpu_level", cpu_level()},
          {"processors", std::thread::hardware_concurrency()},
          {"threads", threads},
          {"memory_bytes", static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                               static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE))},
          {"kernel", kernel()},
          {"compiler", compiler()},
          {"version", VELOXQUANT_VERSION},
          {"date", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))}};
}

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
