#include "cache/code_check.hpp"

#include <cstring>

namespace veloxquant {
namespace {

// Not finite: all bits of the exponent are set (in E4M3, which has no infinity, all bits but the sign).
template <class Bits, Bits kMask>
std::size_t first_with(std::span<const std::uint8_t> bytes) {
  for (std::size_t at = 0; at + sizeof(Bits) <= bytes.size(); at += sizeof(Bits)) {
    Bits bits;
    std::memcpy(&bits, bytes.data() + at, sizeof bits);
    if ((bits & kMask) == kMask) return at;
  }
  return bytes.size();
}

std::size_t first_bad_f16(std::span<const std::uint8_t> bytes) {
  return first_with<std::uint16_t, 0x7c00>(bytes);
}

}  // namespace

std::size_t first_bad_code(const CodeSpec& spec, std::span<const std::uint8_t> codes) {
  switch (spec.kind) {
    case CodeKind::f32:
      return first_with<std::uint32_t, 0x7f800000>(codes);
    case CodeKind::f16:
      return first_bad_f16(codes);
    case CodeKind::bf16:
      return first_with<std::uint16_t, 0x7f80>(codes);
    case CodeKind::fp8_e4m3:
      return first_with<std::uint8_t, 0x7f>(codes);
    default:
      return codes.size();
  }
}

std::size_t first_bad_scale(const CodeSpec& spec, std::span<const std::uint8_t> scales) {
  const bool gains = spec.has_vector_scale() && spec.vector_scale == VectorScale::gain;
  return gains ? first_bad_gain(scales) : first_bad_f16(scales);
}

std::size_t first_bad_gain(std::span<const std::uint8_t> gains) {
  std::size_t at = 0;
  while (at < gains.size() && gains[at] < kGainSteps) ++at;
  return at;
}

}  // namespace veloxquant
