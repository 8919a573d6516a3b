// Text in lines for people, and the word that they may have meant.
#pragma once

#include <optional>
#include <span>
#include <string>

namespace veloxquant::cli {

// Words of `text` in lines of at most `line_width`, as far as single words allow; the second line and later ones
// are indented by `indent`, where the first line begins.
std::string wrapped(const std::string& text, std::size_t indent, std::size_t line_width);

// The known word that begins with this one or has all its parts (split at '_'), or that few changes of letters
// make of it; capitals do not matter. Nothing when none is near.
std::optional<std::string> nearest(const std::string& written, std::span<const std::string> known);

}  // namespace veloxquant::cli
