// Fields of plane order (pack/plane_order.hpp) in the registers of a level, `Lanes` (lanes_avx2.hpp,
// lanes_neon.hpp).
//
// A register of plane order is 64 bytes; these functions give one of its parts, of Lanes::kBytes: kBytes / 4
// tokens of a group of keys, or dimensions of a unit of values.
#pragma once

#include <cstddef>
#include <cstdint>

#include "attention/kernel_inline.hpp"

namespace veloxquant {

template <class Lanes>
inline constexpr int kLineParts = 64 / Lanes::kBytes;

// A part of line `line`, every byte shifted right by Shift bits (left if negative).
template <class Lanes, int Shift>
VELOXQUANT_INLINE auto shifted_part(const std::uint8_t* lines, int line, int part) {
  return Lanes::template shifted<Shift>(Lanes::load(lines + 64 * line + Lanes::kBytes * part));
}

// Indices below 16 whose low three bits are the codes, from a plane of two bits and one of single bits, the
// latter shifted to bit 2.
template <class Lanes>
VELOXQUANT_INLINE auto joined_planes(typename Lanes::Bytes low, typename Lanes::Bytes high) {
  return Lanes::either(Lanes::both(low, Lanes::fill(3)), Lanes::both(high, Lanes::fill(4)));
}

// Part of register K (quad K / 4, group K % 4) of a unit of 8 dimensions of keys, as indices below 16 whose
// low `Bits` <= 4 bits are the codes. Bits above are junk, for tables that repeat.
template <class Lanes, int Bits, int K>
VELOXQUANT_INLINE auto key_indices(const std::uint8_t* unit, int part) {
  if constexpr (Bits == 3) {
    return joined_planes<Lanes>(shifted_part<Lanes, 2 * (K % 4)>(unit, K / 4, part),
                                shifted_part<Lanes, K - 2>(unit, 2, part));
  } else {
    constexpr int kFields = 8 / Bits;
    return Lanes::both(shifted_part<Lanes, Bits*(K % kFields)>(unit, K / kFields, part), Lanes::fill(15));
  }
}

// Token quads of values are taken in steps of so many, those of a line of the plane with the most.
constexpr int value_step_quads(int bits) noexcept { return bits == 3 ? 8 : 8 / bits; }

// As key_indices(): part of token quad Q of a step of a unit of 16 dimensions of values.
template <class Lanes, int Bits, int Q>
VELOXQUANT_INLINE auto value_indices(const std::uint8_t* unit, int step, int part) {
  if constexpr (Bits == 3) {
    return joined_planes<Lanes>(shifted_part<Lanes, 2 * (Q % 4)>(unit, 2 * step + Q / 4, part),
                                shifted_part<Lanes, Q - 2>(unit, 4 + step, part));
  } else {
    return Lanes::both(shifted_part<Lanes, Bits * Q>(unit, step, part), Lanes::fill(15));
  }
}

// The plane of `Width` bits whose lowest is bit `Shift` of the code, where register K has it; other bits
// zero.
template <class Lanes, int Width, int Shift, int K>
VELOXQUANT_INLINE auto plane_of(const std::uint8_t* plane, int part) {
  constexpr int kFields = 8 / Width;
  return Lanes::both(shifted_part<Lanes, Width*(K % kFields) - Shift>(plane, K / kFields, part),
                     Lanes::fill(((1 << Width) - 1) << Shift));
}

// Part of register K of a unit of `Registers` registers, one code of `Bits` bits a byte.
template <class Lanes, int Bits, int K, int Registers>
VELOXQUANT_INLINE auto whole_codes(const std::uint8_t* unit, int part) {
  if constexpr (Bits == 8) {
    return shifted_part<Lanes, 0>(unit, K, part);
  } else {
    constexpr int kLines = 8 * Registers;  // bytes of a plane a bit of its width
    auto codes = Lanes::fill(0);
    if constexpr ((Bits & 4) != 0) codes = plane_of<Lanes, 4, 0, K>(unit, part);
    if constexpr ((Bits & 2) != 0)
      codes = Lanes::either(codes, plane_of<Lanes, 2, (Bits & 4), K>(unit + kLines * (Bits & 4), part));
    if constexpr ((Bits & 1) != 0)
      codes = Lanes::either(codes, plane_of<Lanes, 1, (Bits & 6), K>(unit + kLines * (Bits & 6), part));
    return codes;
  }
}

}  // namespace veloxquant
