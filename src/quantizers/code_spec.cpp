#include <fmt/format.h>

#include <iterator>
#include <veloxquant/quantizers/code_spec.hpp>

namespace veloxquant {

const char* to_string(CodeKind kind) noexcept {
  switch (kind) {
    case CodeKind::f32:
      return "f32";
    case CodeKind::f16:
      return "f16";
    case CodeKind::bf16:
      return "bf16";
    case CodeKind::fp8_e4m3:
      return "fp8_e4m3";
    case CodeKind::integer:
      return "integer";
    case CodeKind::affine:
      return "affine";
    case CodeKind::scalar:
      return "scalar";
    case CodeKind::trellis:
      return "trellis";
    case CodeKind::mixed:
      return "mixed";
    case CodeKind::product:
      return "product";
  }
  return "unknown";
}

float gain_value(int u) noexcept {
  // The same on every system.
  constexpr float kQuarters[] = {1.0f, 1.18920712f, 1.41421356f, 1.68179283f}, kPowers[] = {.25f, .5f, 1, 2};
  static_assert(std::size(kQuarters) * std::size(kPowers) == kGainSteps);
  return kQuarters[u % 4] * kPowers[u / 4];
}

std::size_t CodeSpec::code_bytes() const noexcept {
  if (kind != CodeKind::mixed) {
    const int codes = kind == CodeKind::product ? head_dim / group : head_dim;
    return (static_cast<std::size_t>(codes) * static_cast<std::size_t>(bits) + 7) / 8;
  }
  std::size_t bytes = 0;
  for (const CodeRun& run : runs) bytes += run.code_bytes();
  return bytes;
}

std::size_t CodeSpec::scale_bytes() const noexcept {
  switch (kind) {
    case CodeKind::integer:
      return 2 * static_cast<std::size_t>(head_dim / group);
    case CodeKind::affine:
      return 4 * static_cast<std::size_t>(head_dim / group);
    case CodeKind::scalar:
    case CodeKind::trellis:
    case CodeKind::mixed:
    case CodeKind::product:
      return vector_scale == VectorScale::f16 ? 2 : vector_scale == VectorScale::gain ? 1 : 0;
    default:
      return 0;
  }
}

std::size_t CodeSpec::table_size() const noexcept {
  switch (kind) {
    case CodeKind::scalar:
      return std::size_t{1} << bits;
    case CodeKind::trellis:
      return 256;
    case CodeKind::product:
      return (std::size_t{1} << bits) * static_cast<std::size_t>(group);
    default:
      return 0;
  }
}

CodeSpec CodeSpec::of_run(std::size_t i) const {
  const CodeRun& run = runs[i];
  CodeSpec spec{.kind = run.kind,
                .bits = run.bits,
                .head_dim = run.count,
                .group = 0,
                .table = run.table,
                .vector_scale = VectorScale::none};
  if (run.kind != CodeKind::trellis) return spec;
  const auto begin = [this](std::size_t r) {
    std::ptrdiff_t bytes = 0;
    for (std::size_t before = 0; before < r; ++before)
      bytes += static_cast<std::ptrdiff_t>(runs[before].code_bytes());
    return bytes;
  };
  for (std::size_t next = (i + 1) % runs.size(); next != i; next = (next + 1) % runs.size()) {
    if (runs[next].kind != CodeKind::trellis) continue;
    spec.behind = {begin(next) - begin(i), runs[next].code_bytes()};
    break;
  }
  return spec;
}

std::string CodeSpec::name() const {
  if (kind < CodeKind::integer) return to_string(kind);
  if (kind == CodeKind::mixed) {
    std::string name = "mixed";
    for (const CodeRun& run : runs)
      name += fmt::format(" {}x{}:{}", run.count, to_string(run.kind), run.bits);
    return name;
  }
  if (group > 0) return fmt::format("{} {} bit group {}", to_string(kind), bits, group);
  return fmt::format("{} {} bit", to_string(kind), bits);
}

}  // namespace veloxquant
