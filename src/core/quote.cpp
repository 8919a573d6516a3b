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

// Characters of no width, ends of lines, and those that turn the direction of writing: by them a text can look
// like another.
bool is_invisible(std::string_view text, std::size_t at, std::size_t length) noexcept {
  const char32_t c = next_code_point(text.substr(0, at + length), at);
  return c == 0x61c || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

// At most `longest` bytes, UTF-8 kept whole.
std::string_view head_of(std::string_view text, std::size_t longest) noexcept {
  if (text.size() <= longest) return text;
  while (longest > 0 && (static_cast<unsigned char>(text[longest]) & 0xc0) == 0x80) --longest;
  return text.substr(0, longest);
}

}  // namespace

std::string printable(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = sequence_length(text, at), bytes = length == 0 ? 1 : length;
    if (length == 0 || is_control(text, at, length) || is_invisible(text, at, length)) {
      for (const char c : text.substr(at, bytes))
        result += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      result += text.substr(at, bytes);
    }
    at += bytes;
  }
  return result;
}

std::string printable_head(std::string_view text) {
  constexpr std::size_t kLongest = 200;
  if (text.size() <= kLongest) return printable(text);
  return fmt::format("{}... ({} bytes)", printable(head_of(text, kLongest)), text.size());
}

std::string quote(std::string_view text) {
  constexpr std::size_t kLongest = 160;
  if (text.size() <= kLongest) return "'" + printable(text) + "'";
  return fmt::format("'{}...' ({} bytes)", printable(head_of(text, kLongest)), text.size());
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
