// JSON from outside as a tree. Nesting and size are limited and no object names a member twice; what a message
// shows of a value is short, whatever the value is.
#pragma once

#include <cstddef>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace veloxquant {

inline constexpr std::size_t kDeepestJson = 32;  // published configs need 4, tokenizers 10
inline constexpr std::size_t kMostJsonValues = std::size_t{1} << 23;  // published tokenizers hold a million

// `refuse` throws the caller's error: "is not JSON: ...", "nests deeper than ...", "holds more than ... values",
// "names 'x' twice in one object". Takes time in proportion to the text (times the logarithm of an object's
// members).
nlohmann::json parse_strict_json(std::string_view text,
                                 const std::function<void(const std::string&)>& refuse);

// A value of such a tree for a message: its JSON, cut to a readable length.
std::string shown_json(const nlohmann::json& value);

}  // namespace veloxquant
