// JSON as all subcommands print it.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace veloxquant::cli {

// ASCII, with a newline at the end: names of files may hold bytes that are no UTF-8, and names in files
// characters that a terminal would obey.
inline std::string json_text(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', true, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

// What is not known, or an empty text, is null.
template <class T>
nlohmann::ordered_json or_null(const std::optional<T>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}
inline nlohmann::ordered_json or_null(const std::string& text) {
  return text.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(text);
}

}  // namespace veloxquant::cli
