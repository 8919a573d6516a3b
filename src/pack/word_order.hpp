// Word order: trellis codes of 64 vectors as the words of their bit strings, turned so that one 64-byte
// register holds the same piece of many strings.
//
// A window of a trellis code crosses the borders of its bits' neighbours, so the string is not cut into
// planes; windows are found by shifting whole words, whose successors lie in another register at the same
// place.
//
// Keys. The string of a vector is 32-bit words 0..W-1, W = head_dim * bits / 32. Word w of token t is 32-bit
// number 64 w + t of the block, so that 32-bit lanes are tokens and the words w + 1 of 16 tokens are one load
// away:
//
//     bytes   0               64               ...   256              ...
//             word 0          word 0                 word 1
//             tokens 0..15    tokens 16..31          tokens 0..15
//
// Values. The string is 16-bit halves 0..8L-1, L = head_dim * bits / 128. Line (l, q) of the block, 0 <= l <
// L and token quad 0 <= q < 16, is line 16 l + q and holds halves l, L + l, 2 L + l, .. 7 L + l of the tokens
// 4 q .. 4 q + 3, the four tokens of a half side by side. The halves that follow those of a line are in the
// line (l + 1, q), and those that follow the last line's are in line (0, q) one half further on, the last of
// them the string's own begin:
//
//     line (l, q)   half l of tokens 4q 4q+1 4q+2 4q+3 | half L + l of tokens 4q .. | ... | half 7 L + l of
//     ..
//
// Whole words. So drawn, keys have a multiple of 32 bits and values one of 128; at 3 bits a multiple of 96 in keys and
// of 3 lines in values, because windows repeat their places in 24 and 48 bits. Kernels of every level read these.
//
// Other strings of whole bytes, as runs of mixed codes are. Keys: behind their whole words stand the 1 to 3 bytes that
// are left, if there are two or three first two bytes of all tokens, then the last one of all tokens:
//
//     3 bytes left  bytes 0 1 of token 0 | bytes 0 1 of token 1 | ... | byte 2 of token 0 | byte 2 of token 1 | ...
//
// Values stand by token quads, the four tokens of a byte side by side, and so do those of all runs among others, whose
// strings go on in another run's section:
//
//     quad q   byte 0 of tokens 4q 4q+1 4q+2 4q+3 | byte 1 of tokens 4q .. | ...
//
#pragma once

#include <memory>

#include "pack/block_order.hpp"

namespace veloxquant {

constexpr bool has_whole_words(int head_dim, int bits, Role role) noexcept {
  const int total = head_dim * bits, unit = role == Role::keys ? 32 : 128;
  return total % (bits == 3 ? 3 * unit : unit) == 0;
}
constexpr bool has_word_order(int head_dim) noexcept { return head_dim % 8 == 0; }  // whole bytes

// Of a trellis code that has a word order for this role.
std::unique_ptr<const BlockOrder> word_order(const CodeSpec& spec, Role role);

}  // namespace veloxquant
