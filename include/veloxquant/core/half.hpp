// The 16-bit and 8-bit floating-point types that K/V caches and model files use, and their conversions.
//
// All conversions to a narrower type round to nearest, ties to even, as IEEE 754 hardware does, so that a code
// never depends on the CPU that made it. Kernels convert in bulk with vector instructions; these scalar
// functions are the definition that those are tested against.
#pragma once

#include <bit>
#include <cstdint>

namespace veloxquant {

struct f16 {  // IEEE 754 binary16: 1 sign, 5 exponent, 10 fraction bits; largest finite value 65504
  std::uint16_t bits = 0;
};
struct bf16 {  // bfloat16: the upper half of a binary32
  std::uint16_t bits = 0;
};
struct fp8_e4m3 {  // OCP E4M3: 1 sign, 4 exponent (bias 7), 3 fraction bits; no infinity; largest value 448
  std::uint8_t bits = 0;
};

inline float to_f32(bf16 x) noexcept { return std::bit_cast<float>(std::uint32_t{x.bits} << 16); }

inline bf16 to_bf16(float x) noexcept {
  const auto u = std::bit_cast<std::uint32_t>(x);
  if ((u & 0x7fffffffu) > 0x7f800000u)
    return {static_cast<std::uint16_t>((u >> 16) | 0x40u)};  // keep NaN a NaN
  return {static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16)};
}

inline float to_f32(f16 x) noexcept {
  const std::uint32_t sign = (x.bits & 0x8000u) << 16;
  const std::uint32_t magnitude = x.bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
  // Moving the exponent and fraction into place leaves the value 2^-112 too small; the product is exact, also
  // for subnormals.
  return std::bit_cast<float>(sign |
                              std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude << 13) * 0x1p112f));
}

// Values that round beyond 65504 become infinity; callers check ranges where that would be an error.
inline f16 to_f16(float x) noexcept {
  const auto u = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint16_t>((u >> 16) & 0x8000u);
  const std::uint32_t magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<std::uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return {static_cast<std::uint16_t>(sign | 0x7c00u)};  // 65520 and up
  if (magnitude < 0x38800000u) {  // subnormal in binary16: adding 0.5 lets the FPU round at bit 2^-24
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return {static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u))};
  }
  const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return {static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

inline float to_f32(fp8_e4m3 x) noexcept {
  const std::uint32_t sign = std::uint32_t{x.bits & 0x80u} << 24;
  const std::uint32_t magnitude = x.bits & 0x7fu;
  if (magnitude == 0x7fu) return std::bit_cast<float>(sign | 0x7fc00000u);
  return std::bit_cast<float>(sign |
                              std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude << 20) * 0x1p120f));
}

// Values that round beyond 448 become NaN (the format has no infinity); callers check ranges.
inline fp8_e4m3 to_fp8_e4m3(float x) noexcept {
  const auto u = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint8_t>((u >> 24) & 0x80u);
  const std::uint32_t magnitude = u & 0x7fffffffu;
  if (magnitude > 0x43e80000u) return {static_cast<std::uint8_t>(sign | 0x7fu)};  // 464 is halfway to 480
  if (magnitude < 0x3c800000u) {  // below 2^-6: subnormal, steps of 2^-9
    const float shifted = std::bit_cast<float>(magnitude) + 0x1p14f;
    return {static_cast<std::uint8_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x46800000u))};
  }
  const std::uint32_t rounded = magnitude + 0x7ffffu + ((magnitude >> 20) & 1u);
  return {static_cast<std::uint8_t>(sign | ((rounded - 0x3c000000u) >> 20))};
}

}  // namespace veloxquant
