#include "models/byte_level.hpp"

#include <array>
#include <cstdint>

#include "core/utf8.hpp"

namespace veloxquant::tokenizing {
namespace {

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<char32_t, 256> letter{};       // of a byte
  std::array<std::int16_t, 256 + 68> byte;  // of a letter; -1 for none

  constexpr Alphabet() : byte() {
    byte.fill(-1);
    char32_t moved = 256;
    for (unsigned b = 0; b < 256; ++b) {
      letter[b] = stands_for_itself(b) ? b : moved++;
      byte[letter[b]] = static_cast<std::int16_t>(b);
    }
  }
};

constexpr Alphabet kAlphabet;

}  // namespace

std::optional<std::string> bytes_of_piece(std::string_view piece) {
  std::string bytes;
  for (std::size_t at = 0; at < piece.size();) {
    const char32_t letter = next_code_point(piece, at);
    if (letter >= kAlphabet.byte.size() || kAlphabet.byte[letter] < 0) return std::nullopt;
    bytes += static_cast<char>(kAlphabet.byte[letter]);
  }
  return bytes;
}

std::string piece_of_bytes(std::string_view bytes) {
  std::string piece;
  for (const char byte : bytes) append_code_point(piece, kAlphabet.letter[static_cast<std::uint8_t>(byte)]);
  return piece;
}

}  // namespace veloxquant::tokenizing
