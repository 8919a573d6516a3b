// Text of strangers in our messages.
#pragma once

#include <string>
#include <string_view>

namespace veloxquant::io {

// 'text' in quotes, control characters as \xNN, and at most 160 bytes of it.
std::string quote(std::string_view text);

// Bytes 0x00 to 0x1f and 0x7f.
constexpr bool is_control(char c) noexcept { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

}  // namespace veloxquant::io
