// Text of strangers in our messages.
#pragma once

#include <string>
#include <string_view>

namespace veloxquant {

// Control characters and bytes that are no UTF-8 as \xNN: what a terminal would obey never reaches it.
std::string printable(std::string_view text);

// 'text' in quotes and printable, at most 160 bytes of it.
std::string quote(std::string_view text);

// U+0000 to U+001F and U+007F to U+009F, anywhere in the text.
bool has_control(std::string_view text) noexcept;

}  // namespace veloxquant
