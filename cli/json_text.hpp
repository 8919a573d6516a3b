// JSON as all subcommands print it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace veloxquant::cli {

// ASCII, with a newline at the end: names of files may hold bytes that are no UTF-8, and names in files
// characters that a terminal would obey.
inline std::string json_text(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', true, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace veloxquant::cli
