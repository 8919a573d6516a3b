// JSON from outside as a tree. Nesting is limited and no object names a member twice; what a message shows
// of a value is short, whatever the value is.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace veloxquant {

inline constexpr int kDeepestJson = 32;  // published configs need 4, tokenizers 10

// `refuse` throws the caller's error: "is not JSON: ...", "nests deeper than ...", "names 'x' twice in one
// object". Defined for nlohmann::json and nlohmann::ordered_json.
template <class Json>
Json parse_strict_json(std::string_view text, const std::function<void(const std::string&)>& refuse);

// A value of such a tree for a message: its JSON, cut to a readable length.
template <class Json>
std::string shown_json(const Json& value);

}  // namespace veloxquant
