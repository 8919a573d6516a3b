// The byte alphabet of GPT-2: 256 printable characters, one for each byte, so that pieces of any bytes can be
// written in JSON. Printable Latin-1 bytes stand for themselves; the other 68, in order, are U+0100, U+0101,
// ... A space is therefore U+0120, which is why tokens of words begin with that letter.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace veloxquant::tokenizing {

// The pattern that ByteLevel applies itself when use_regex is set.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// The bytes that a piece (well-formed UTF-8) spells; nothing when a character is outside the alphabet.
std::optional<std::string> bytes_of_piece(std::string_view piece);

// The spelling of bytes in the alphabet.
std::string piece_of_bytes(std::string_view bytes);

}  // namespace veloxquant::tokenizing
