#include "inputs.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>
#include <veloxquant/core/error.hpp>
#include <veloxquant/io/files.hpp>

#include "core/counted.hpp"
#include "core/quote.hpp"
#include "paths.hpp"

namespace veloxquant::cli {

std::string existing(const std::string& path, const char* flag) {
  std::error_code error;
  if (std::filesystem::exists(path, error) || error) return path;  // reading it says what is wrong
  throw MissingInput(fmt::format("{}: there is no {}", flag, quote(path)));
}

std::string model_folder(const std::string& path, std::initializer_list<const char*> further,
                         const char* flag) {
  const std::filesystem::path folder = existing(path, flag);
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error) && !error)
    throw MissingInput(
        fmt::format("{}: {} is no folder; name the one that holds config.json", flag, quote(path)));
  const auto is_model = [](const std::filesystem::path& where, std::error_code& unseen) {
    return std::filesystem::exists(where / "config.json", unseen);
  };
  if (!is_model(folder, error)) {
    if (error)  // something may be there
      throw MissingInput(
          fmt::format("{}: cannot look for config.json in {}: {}", flag, quote(path), error.message()));
    std::vector<std::string> models;
    for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end;
         at.increment(error)) {
      std::error_code none;
      if (is_model(at->path(), none)) models.push_back(quote(at->path().string()));
    }
    std::ranges::sort(models);
    throw MissingInput(fmt::format("{}: {} has no config.json{}{}", flag, quote(path),
                                   models.empty() ? "" : "; models inside are ", fmt::join(models, ", ")));
  }
  for (const char* file : further) {
    if (!std::filesystem::exists(folder / file, error) && !error)
      throw MissingInput(fmt::format("{}: {} has no {}", flag, quote(path), file));
  }
  return path;
}

Text read_text(const std::string& path) {
  constexpr std::uint64_t kLongest = std::uint64_t{1} << 30;
  std::filesystem::path file =
      path.empty() ? default_text() : std::filesystem::path(existing(path, "--text"));
  std::error_code error;
  if (std::filesystem::is_directory(file, error))
    throw MissingInput(fmt::format("--text: {} is a folder", quote(file.string())));
  std::string bytes = read_file(file, kLongest);
  return {std::move(file), std::move(bytes)};
}

void require_length(std::int64_t tokens, std::int64_t skip, std::int64_t needed, std::int64_t length,
                    const char* flag) {
  if (skip <= tokens && tokens - skip >= needed) return;
  throw ConfigError("text",
                    fmt::format("the text has {}, and {} {}{} needs {}; make the windows shorter{} or give "
                                "a longer --text",
                                counted(tokens, "token"), flag, length,
                                skip > 0 ? fmt::format(" after --skip {}", skip) : "", skip + needed,
                                skip > 0 ? ", skip less" : ""));
}

}  // namespace veloxquant::cli
