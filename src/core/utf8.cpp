#include "core/utf8.hpp"

#include <cstdint>
#include <cstring>

namespace veloxquant {
namespace {

std::uint8_t byte_at(std::string_view text, std::size_t at) noexcept {
  return at < text.size() ? static_cast<std::uint8_t>(text[at]) : std::uint8_t{0};
}

bool is_between(std::uint8_t byte, std::uint8_t low, std::uint8_t high) noexcept {
  return byte >= low && byte <= high;
}

// The second byte has a narrower range after some first bytes: no overlong forms, no surrogates, no more than
// 10FFFF.
bool is_second(std::uint8_t first, std::uint8_t second) noexcept {
  switch (first) {
    case 0xE0:
      return is_between(second, 0xA0, 0xBF);
    case 0xED:
      return is_between(second, 0x80, 0x9F);
    case 0xF0:
      return is_between(second, 0x90, 0xBF);
    case 0xF4:
      return is_between(second, 0x80, 0x8F);
    default:
      return is_between(second, 0x80, 0xBF);
  }
}

bool is_ascii_word(const char* bytes) noexcept {
  std::uint64_t word;
  std::memcpy(&word, bytes, sizeof word);
  return (word & 0x8080808080808080u) == 0;
}

}  // namespace

std::size_t sequence_length(std::string_view text, std::size_t at) noexcept {
  const std::uint8_t first = byte_at(text, at);
  if (first < 0x80) return at < text.size() ? 1 : 0;
  if (!is_between(first, 0xC2, 0xF4) || !is_second(first, byte_at(text, at + 1))) return 0;
  const std::size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  for (std::size_t i = 2; i < length; ++i) {
    if (!is_between(byte_at(text, at + i), 0x80, 0xBF)) return 0;
  }
  return length;
}

std::size_t well_formed_prefix(std::string_view text) noexcept {
  std::size_t at = 0;
  while (at < text.size()) {
    if (at + 8 <= text.size() && is_ascii_word(text.data() + at)) {
      at += 8;
      continue;
    }
    const std::size_t length = sequence_length(text, at);
    if (length == 0) break;
    at += length;
  }
  return at;
}

char32_t next_code_point(std::string_view text, std::size_t& at) noexcept {
  const std::uint8_t first = byte_at(text, at++);
  if (first < 0x80) return first;
  const int rest = first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
  char32_t code_point = first & (0x3Fu >> rest);
  for (int i = 0; i < rest; ++i) code_point = code_point << 6 | (byte_at(text, at++) & 0x3Fu);
  return code_point;
}

void append_code_point(std::string& out, char32_t code_point) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80u | (code_point >> shift & 0x3Fu)); };
  if (code_point < 0x80) {
    out += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    out += static_cast<char>(0xC0u | code_point >> 6);
    tail(0);
  } else if (code_point < 0x10000) {
    out += static_cast<char>(0xE0u | code_point >> 12);
    tail(6), tail(0);
  } else {
    out += static_cast<char>(0xF0u | code_point >> 18);
    tail(12), tail(6), tail(0);
  }
}

}  // namespace veloxquant
