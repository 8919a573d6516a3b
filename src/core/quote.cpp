#include "core/quote.hpp"

#include <fmt/format.h>

#include "core/utf8.hpp"

namespace veloxquant {
namespace {

// Of the well-formed sequence of `length` bytes at text[at].
bool is_control(std::string_view text, std::size_t at, std::size_t length) noexcept {
  const char32_t c = next_code_point(text.substr(0, at + length), at);
  return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

}  // namespace

std::string printable(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = sequence_length(text, at), bytes = length == 0 ? 1 : length;
    if (length == 0 || is_control(text, at, length)) {
      for (const char c : text.substr(at, bytes))
        result += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      result += text.substr(at, bytes);
    }
    at += bytes;
  }
  return result;
}

std::string quote(std::string_view text) {
  constexpr std::size_t kLongest = 160;
  if (text.size() <= kLongest) return "'" + printable(text) + "'";
  std::size_t shown = kLongest;
  while (shown > 0 && (static_cast<unsigned char>(text[shown]) & 0xc0) == 0x80) --shown;  // keep UTF-8 whole
  return fmt::format("'{}...' ({} bytes)", printable(text.substr(0, shown)), text.size());
}

bool has_control(std::string_view text) noexcept {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = sequence_length(text, at);
    if (length != 0 && is_control(text, at, length)) return true;
    at += length == 0 ? 1 : length;
  }
  return false;
}

}  // namespace veloxquant
