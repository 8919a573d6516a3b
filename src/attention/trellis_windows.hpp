// Windows of trellis codes (pack/word_order.hpp draws the blocks) in the registers of a level, `Lanes`
// (lanes_avx2.hpp, lanes_neon.hpp): for every code of a register the 8 bits of its string that name its
// value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "attention/block_kernels.hpp"
#include "attention/kernel_inline.hpp"
#include "attention/trellis_blocks.hpp"
#include "pack/word_order.hpp"

namespace veloxquant {

// call.operator()<0>() to call.operator()<Count - 1>().
template <int Count, class Call>
VELOXQUANT_INLINE void for_each(const Call& call) {
  [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    (call.template operator()<I>(), ...);
  }(std::make_integer_sequence<int, Count>());
}

// ---- keys ----

inline constexpr std::size_t kKeyWord = 4 * kBlockTokens;  // bytes from a word of a string to the next

// Bits [Shift, Shift + 32) of two words.
template <class Lanes, int Shift>
VELOXQUANT_INLINE auto joined_words(const std::uint8_t* word, const std::uint8_t* next) {
  if constexpr (Shift == 0) {
    return Lanes::load(word);
  } else {
    return Lanes::either(Lanes::template shifted_words<Shift>(Lanes::load(word)),
                         Lanes::template shifted_words<Shift - 32>(Lanes::load(next)));
  }
}

// Byte K of a lane <- its bits [First + 3 K, First + 3 K + 8).
template <class Lanes, int First>
VELOXQUANT_INLINE auto windows_of_three_bits(typename Lanes::Bytes x) {
  const auto low = Lanes::odd_bytes_from(Lanes::template shifted_words<First>(x),
                                         Lanes::template shifted_words<First - 5>(x));
  const auto high = Lanes::odd_bytes_from(Lanes::template shifted_words<First - 10>(x),
                                          Lanes::template shifted_words<First - 15>(x));
  return Lanes::odd_halves_from(low, high);
}

// Quad Q of a step that begins at `word`; `next` is the word behind the step.
template <class Lanes, int Bits, int Q>
VELOXQUANT_INLINE auto key_windows(const std::uint8_t* word, const std::uint8_t* next) {
  if constexpr (Bits == 3) {
    constexpr int kPart = Q / 2;  // 24 bits each
    constexpr int kWord = kPart == 0 ? 0 : kPart - 1, kShift = kPart == 0 ? 0 : 32 - 8 * kPart;
    return windows_of_three_bits<Lanes, Q % 2 * 12>(
        joined_words<Lanes, kShift>(word + kWord * kKeyWord, kPart < 3 ? word + kPart * kKeyWord : next));
  } else {
    return joined_words<Lanes, Q * Bits>(word, next);
  }
}

// ---- values ----

inline constexpr std::size_t kValueLine =
    64 * kBlockTokens / 4;  // bytes from a line of a token quad to its next

// Part of line `line` of a token quad's string, whose lines behind the last are the first ones, one half (of
// the string's words) further on.
template <class Lanes, int Part>
VELOXQUANT_INLINE auto value_line(const std::uint8_t* quad, int line, int lines) {
  if (line < lines)
    return Lanes::load(quad + kValueLine * static_cast<std::size_t>(line) + Lanes::kBytes * Part);
  if constexpr (Lanes::kBytes * (Part + 1) < 64) {
    return Lanes::load_unaligned(quad + Lanes::kBytes * Part + 8);
  } else {
    return Lanes::load_around(quad);
  }
}

// Pair of dimensions `Pair` of a step. The four tokens of a dimension stand in a 32-bit lane; the lanes of a
// 128-bit block are, of its two places in the string, the first dimensions, then the second ones.
template <class Lanes, int Bits, int Pair, int Part>
VELOXQUANT_INLINE auto value_windows(const std::uint8_t* quad, int line, int lines) {
  constexpr PairPlace kPlace = pair_place(Bits, Pair);
  auto halves = value_line<Lanes, Part>(quad, line + kPlace.line, lines);
  if constexpr (kPlace.shift > 0) {
    const auto next = value_line<Lanes, Part>(quad, line + kPlace.line + 1, lines);
    halves = Lanes::either(Lanes::template shifted_halves<kPlace.shift>(halves),
                           Lanes::template shifted_halves<kPlace.shift - 16>(next));
  }
  return Lanes::low_bytes(Lanes::template shifted_halves<kPlace.offset>(halves),
                          Lanes::template shifted_halves<kPlace.offset + Bits>(halves));
}

}  // namespace veloxquant
