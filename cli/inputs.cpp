#include "inputs.hpp"

#include <fmt/format.h>

#include <veloxquant/core/error.hpp>
#include <veloxquant/io/files.hpp>

#include "core/quote.hpp"
#include "paths.hpp"

namespace veloxquant::cli {

const std::string& existing(const std::string& path, const char* flag) {
  std::error_code error;
  if (std::filesystem::exists(path, error) || error) return path;  // reading it says what is wrong
  throw MissingInput(fmt::format("{}: there is no {}", flag, quote(path)));
}

Text read_text(const std::string& path) {
  constexpr std::uint64_t kLongest = std::uint64_t{1} << 30;
  std::filesystem::path file =
      path.empty() ? default_text() : std::filesystem::path(existing(path, "--text"));
  std::string bytes = read_file(file, kLongest);
  return {std::move(file), std::move(bytes)};
}

void require_length(std::int64_t tokens, std::int64_t skip, std::int64_t needed, std::int64_t length,
                    const char* flag) {
  if (skip <= tokens && tokens - skip >= needed) return;
  throw ConfigError(
      "text", fmt::format("the text has {} tokens, and {} {}{} needs {}; make the windows shorter{} or give "
                          "a longer --text",
                          tokens, flag, length, skip > 0 ? fmt::format(" after --skip {}", skip) : "",
                          skip + needed, skip > 0 ? ", skip less" : ""));
}

}  // namespace veloxquant::cli
