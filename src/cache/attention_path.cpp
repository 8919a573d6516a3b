// Which way attention reads a layer, in words.
#include <fmt/format.h>

#include "attention/decoded_blocks.hpp"
#include "cache/coded_side.hpp"

namespace veloxquant {
namespace {

struct Path {
  const char* way = "packed kernels";
  std::string why{};  // not the packed kernels
};

// How the kernels of a KV head read blocks.
enum class Reading { none, decoded, packed };

Reading reading_of(const CodedSide& side, Role role, int head) {
  const auto of = [](const auto& kernel, bool exists) {
    return !exists ? Reading::none : reads_decoded(kernel) ? Reading::decoded : Reading::packed;
  };
  return role == Role::keys ? of(side.key_kernel(head), side.key_kernel(head).scores != nullptr)
                            : of(side.value_kernel(head), side.value_kernel(head).add != nullptr);
}

Path path_of(const LayerKernels& kernels, const VectorQuantizer& method, Role role, int head) {
  const CodeSpec* spec = method.code_spec(head);
  if (spec == nullptr)
    return {"decoded tiles", fmt::format("{} are not in a code that kernels read", to_string(role))};
  const CodedSide& side = role == Role::keys ? kernels.keys : kernels.values;
  if (method.frame() > 0 && method.frame() < CodedSide::kShortestFrame) {
    return {side.key_kernel(head).scores != nullptr ? "decoded blocks" : "decoded tiles",
            fmt::format("frames of {} tokens are too short", method.frame())};
  }
  const Reading reading = reading_of(side, role, head);
  if (reading == Reading::packed) return {};
  const std::string where = kernels.arithmetic == AttentionArithmetic::precise
                                ? "in precise arithmetic"
                                : "at the CPU level " + kernels.level;
  return {reading == Reading::decoded ? "decoded blocks" : "decoded tiles",
          fmt::format("{} ({}) have no kernel {}", to_string(role), spec->name(), where)};
}

// Tiles are decoded for both sides when one of them needs it.
Path path_of(const LayerKernels& kernels, const LayerMethods& methods, int head) {
  Path keys = path_of(kernels, *methods.keys, Role::keys, head);
  Path values = path_of(kernels, *methods.values, Role::values, head);
  const auto in_tiles = [](const Path& path) { return path.way == std::string_view("decoded tiles"); };
  if (in_tiles(keys) || values.why.empty()) return keys;
  return keys.why.empty() || in_tiles(values) ? values : keys;
}

}  // namespace

std::string attention_path(const LayerMethods& methods, int kv_heads) {
  const LayerKernels kernels(methods, kv_heads);
  int decoded = 0;
  Path first;
  for (int h = 0; h < kv_heads; ++h) {
    Path path = path_of(kernels, methods, h);
    if (!path.why.empty() && decoded++ == 0) first = std::move(path);
  }
  if (decoded == 0) return first.way;
  if (decoded == kv_heads) return fmt::format("{}: {}", first.way, first.why);
  return fmt::format("packed kernels, and {} for {} of {} KV heads: {}", first.way, decoded, kv_heads,
                     first.why);
}

}  // namespace veloxquant
