// Bit strings: codes of 1 to 8 bits side by side, least significant bit first.
//
// Code c takes the bits [c * bits, (c + 1) * bits) of the string and bit i is bit i % 8 of byte i / 8, so
// eight codes always fill `bits` whole bytes. With 3 bits and the codes a b c d e f g h (a2 is the high bit
// of a):
//
//     byte 0                    byte 1                    byte 2
//     c1 c0 b2 b1 b0 a2 a1 a0   f0 e2 e1 e0 d2 d1 d0 c2   h2 h1 h0 g2 g1 g0 f2 f1
//
// Packing works on eight codes in one 64-bit word: neighbours are pushed together in pairs, then the pairs,
// then the fours. Unpacking runs the same steps backwards.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace veloxquant {

static_assert(std::endian::native == std::endian::little,
              "packed codes are read and written as little-endian words");

// Bytes of `count` codes.
constexpr std::size_t packed_bytes(int count, int bits) noexcept {
  return (static_cast<std::size_t>(count) * static_cast<std::size_t>(bits) + 7) / 8;
}

// Eight codes, one in each byte of `word`, to 8 * bits bits. Bits of a byte beyond `bits` must be zero.
inline std::uint64_t pack8(std::uint64_t word, int bits) noexcept {
  const int gap = 8 - bits;
  word = (word & 0x00ff00ff00ff00ffu) | ((word & 0xff00ff00ff00ff00u) >> gap);
  word = (word & 0x0000ffff0000ffffu) | ((word & 0xffff0000ffff0000u) >> (2 * gap));
  return (word & 0x00000000ffffffffu) | ((word & 0xffffffff00000000u) >> (4 * gap));
}

// 8 * bits bits to eight codes, one a byte. Higher bits of `word` must be zero.
inline std::uint64_t unpack8(std::uint64_t word, int bits) noexcept {
  const int gap = 8 - bits;
  const std::uint64_t four = (std::uint64_t{1} << (4 * bits)) - 1;
  const std::uint64_t two = ((std::uint64_t{1} << (2 * bits)) - 1) * 0x0000000100000001u;
  const std::uint64_t one = ((std::uint64_t{1} << bits) - 1) * 0x0001000100010001u;
  word = (word & four) | ((word & ~four) << (4 * gap));
  word = (word & two) | ((word & ~two) << (2 * gap));
  return (word & one) | ((word & ~one) << gap);
}

// codes[count], each below 2^bits -> packed_bytes(count, bits) bytes; unused bits of the last byte become
// zero.
inline void pack_codes(const std::uint8_t* codes, int count, int bits, std::uint8_t* packed) noexcept {
  std::size_t left = packed_bytes(count, bits);
  for (; count >= 8 && left >= 8;
       count -= 8, codes += 8, packed += bits, left -= static_cast<std::size_t>(bits)) {
    std::uint64_t word;
    std::memcpy(&word, codes, 8);
    word = pack8(word, bits);
    std::memcpy(packed, &word, 8);  // the bytes behind these codes are overwritten by the next ones
  }
  for (; count > 0; count -= 8, codes += 8, packed += bits) {
    const int here = count < 8 ? count : 8;
    std::uint64_t word = 0;
    std::memcpy(&word, codes, static_cast<std::size_t>(here));
    word = pack8(word, bits);
    std::memcpy(packed, &word, packed_bytes(here, bits));
  }
}

// The inverse of pack_codes; reads no byte beyond packed_bytes(count, bits).
inline void unpack_codes(const std::uint8_t* packed, int count, int bits, std::uint8_t* codes) noexcept {
  const std::uint64_t mask = bits == 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << (8 * bits)) - 1;
  std::size_t left = packed_bytes(count, bits);
  for (; count >= 8 && left >= 8;
       count -= 8, codes += 8, packed += bits, left -= static_cast<std::size_t>(bits)) {
    std::uint64_t word;
    std::memcpy(&word, packed, 8);
    word = unpack8(word & mask, bits);
    std::memcpy(codes, &word, 8);
  }
  for (; count > 0; count -= 8, codes += 8, packed += bits) {
    const int here = count < 8 ? count : 8;
    std::uint64_t word = 0;
    std::memcpy(&word, packed, packed_bytes(here, bits));
    word = unpack8(word, bits);
    std::memcpy(codes, &word, static_cast<std::size_t>(here));
  }
}

// One code by its definition: `bits` (at most 8) bits from bit `first` on; reads only the bytes that hold
// them.
inline unsigned read_bits(const std::uint8_t* packed, std::size_t first, int bits) noexcept {
  const int shift = static_cast<int>(first % 8);
  unsigned value = packed[first / 8] >> shift;
  if (shift + bits > 8) value |= static_cast<unsigned>(packed[first / 8 + 1]) << (8 - shift);
  return value & ((1u << bits) - 1u);
}

// `bits` (at most 8) bits from bit `first` on of a string of `total` bits, which goes on at the begin of `behind`.
inline unsigned read_continued_bits(const std::uint8_t* packed, std::size_t first, int bits,
                                    std::size_t total, const std::uint8_t* behind) noexcept {
  if (first + static_cast<std::size_t>(bits) <= total) return read_bits(packed, first, bits);
  const int inside = static_cast<int>(total - first);
  return read_bits(packed, first, inside) | (read_bits(behind, 0, bits - inside) << inside);
}

// The same of a cyclic string, which goes on at its own begin.
inline unsigned read_cyclic_bits(const std::uint8_t* packed, std::size_t first, int bits,
                                 std::size_t total) noexcept {
  return read_continued_bits(packed, first, bits, total, packed);
}

}  // namespace veloxquant
