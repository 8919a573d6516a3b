// UTF-8: finding well-formed runs, reading and writing code points.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace veloxquant {

// Bytes of the well-formed sequence (Unicode 14, table 3-7) that begins at text[at]; 0 when none does.
std::size_t sequence_length(std::string_view text, std::size_t at) noexcept;

// Length of the longest well-formed prefix.
std::size_t well_formed_prefix(std::string_view text) noexcept;

// Reads the code point at text[at] of well-formed text and moves `at` behind it.
char32_t next_code_point(std::string_view text, std::size_t& at) noexcept;

void append_code_point(std::string& out, char32_t code_point);

}  // namespace veloxquant
