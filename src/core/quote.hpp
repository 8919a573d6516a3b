// Text of strangers in our messages.
#pragma once

#include <string>
#include <string_view>

namespace veloxquant {

// Control characters, invisible ones, those that turn the direction of writing, and bytes that are no UTF-8 as
// \xNN: what a terminal would obey never reaches it, and what is shown is what is there.
std::string printable(std::string_view text);

// The same of at most 200 bytes of the text, followed by "... (N bytes)" where it is longer.
std::string printable_head(std::string_view text);

// 'text' in quotes and printable, at most 160 bytes of it.
std::string quote(std::string_view text);

// U+0000 to U+001F and U+007F to U+009F, anywhere in the text.
bool has_control(std::string_view text) noexcept;

}  // namespace veloxquant
