// Fields of plane order (pack/plane_order.hpp) in AVX-512 registers. Only for files compiled for that level.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace veloxquant {

// Four bytes in every 32-bit lane.
inline __attribute__((always_inline)) __m512i broadcast4(const void* bytes) {
  std::int32_t four;
  __builtin_memcpy(&four, bytes, 4);
  return _mm512_set1_epi32(four);
}

// Asks for the lines of so many bytes.
inline __attribute__((always_inline)) void prefetch(const std::uint8_t* begin, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; i += 64)
    _mm_prefetch(reinterpret_cast<const char*>(begin + i), _MM_HINT_T1);
}

// Asks for lines [Part, Part + 1) / Parts of `Lines` lines.
template <int Lines, int Parts, int Part>
inline __attribute__((always_inline)) void prefetch_lines(const std::uint8_t* lines) {
  for (int i = Lines * Part / Parts; i < Lines * (Part + 1) / Parts; ++i)
    _mm_prefetch(reinterpret_cast<const char*>(lines) + 64 * i, _MM_HINT_T1);
}

inline __attribute__((always_inline)) __m512i load_line(const std::uint8_t* lines, int line) {
  return _mm512_load_si512(lines + 64 * static_cast<std::size_t>(line));
}

// Every byte shifted right by Shift bits (left if negative); what comes in from the neighbour is not cleared.
template <int Shift>
inline __attribute__((always_inline)) __m512i shifted(__m512i x) {
  if constexpr (Shift > 0) return _mm512_srli_epi16(x, Shift);
  if constexpr (Shift < 0) return _mm512_slli_epi16(x, -Shift);
  return x;
}

// Register K of a unit of `Registers` registers, a code of `Bits` <= 4 bits in the low bits of every byte.
// Bits above are junk, for tables that repeat; those above bit 5 would not matter anyway.
template <int Bits, int K, int Registers>
inline __attribute__((always_inline)) __m512i plane_fields(const std::uint8_t* unit) {
  if constexpr (Bits == 3) {
    const __m512i low = shifted<2 * (K % 4)>(load_line(unit, K / 4));
    const __m512i high = shifted<K % 8 - 2>(load_line(unit + 64 * (Registers / 4), K / 8));
    // Bit 2 from the plane of single bits, the others from that of two.
    return _mm512_ternarylogic_epi32(_mm512_set1_epi8(3), low, high, 0xca);
  } else {
    constexpr int kFields = 8 / Bits;
    return shifted<Bits*(K % kFields)>(load_line(unit, K / kFields));
  }
}

// Register K (quad K / 4, group K % 4) of a unit of 8 dimensions of keys.
template <int Bits, int K>
inline __attribute__((always_inline)) __m512i key_fields(const std::uint8_t* unit) {
  return plane_fields<Bits, K, 8>(unit);
}

// Token quad 8 * step + Q of a unit of 16 dimensions of values.
template <int Bits, int Q>
inline __attribute__((always_inline)) __m512i value_fields(const std::uint8_t* unit, int step) {
  if constexpr (Bits == 3) {
    const __m512i low = shifted<2 * (Q % 4)>(load_line(unit, 2 * step + Q / 4));
    const __m512i high = shifted<Q - 2>(load_line(unit, 4 + step));
    return _mm512_ternarylogic_epi32(_mm512_set1_epi8(3), low, high, 0xca);
  } else {
    constexpr int kFields = 8 / Bits;
    return shifted<Bits*(Q % kFields)>(load_line(unit, Bits * step + Q / kFields));
  }
}

// Adds the plane of `Width` bits whose lowest is bit `Shift` of the code to `codes`, where register K has it.
template <int Width, int Shift, int K>
inline __attribute__((always_inline)) __m512i add_plane(__m512i codes, const std::uint8_t* plane) {
  constexpr int kFields = 8 / Width;
  constexpr auto kMask = static_cast<char>(((1 << Width) - 1) << Shift);
  const __m512i field = shifted<Width*(K % kFields) - Shift>(load_line(plane, K / kFields));
  return _mm512_ternarylogic_epi32(codes, field, _mm512_set1_epi8(kMask), 0xf8);  // codes | (field & mask)
}

// Register K of a unit of `Registers` registers, one code a byte.
template <int Bits, int K, int Registers>
inline __attribute__((always_inline)) __m512i whole_codes(const std::uint8_t* unit) {
  if constexpr (Bits == 8) {
    return load_line(unit, K);
  } else {
    constexpr int kLines = 8 * Registers;  // bytes of a plane a bit of its width
    __m512i codes = _mm512_setzero_si512();
    if constexpr ((Bits & 4) != 0) codes = add_plane<4, 0, K>(codes, unit);
    if constexpr ((Bits & 2) != 0) codes = add_plane < 2, Bits & 4, K > (codes, unit + kLines * (Bits & 4));
    if constexpr ((Bits & 1) != 0) codes = add_plane < 1, Bits & 6, K > (codes, unit + kLines * (Bits & 6));
    return codes;
  }
}

}  // namespace veloxquant
