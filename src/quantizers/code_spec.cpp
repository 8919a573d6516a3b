#include <fmt/format.h>

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
  }
  return "unknown";
}

std::size_t CodeSpec::scale_count() const noexcept {
  switch (kind) {
    case CodeKind::integer:
      return static_cast<std::size_t>(head_dim / group);
    case CodeKind::affine:
      return 2 * static_cast<std::size_t>(head_dim / group);
    case CodeKind::scalar:
    case CodeKind::trellis:
      return 1;
    default:
      return 0;
  }
}

std::string CodeSpec::name() const {
  if (kind < CodeKind::integer) return to_string(kind);
  if (group > 0) return fmt::format("{} {} bit group {}", to_string(kind), bits, group);
  return fmt::format("{} {} bit", to_string(kind), bits);
}

}  // namespace veloxquant
