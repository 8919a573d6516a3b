// What the command line names and the command reads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <stdexcept>
#include <string>

namespace veloxquant::cli {

// An input that is not there: refused (exit code 2).
class MissingInput : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Flags that have no meaning together, or one that is missing (exit code 1).
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The path when something is there; throws MissingInput that names the flag.
std::string existing(const std::string& path, const char* flag);

// The same for a model folder; throws MissingInput that says which of config.json and `further` files is not there,
// and names folders inside that are models.
std::string model_folder(const std::string& path, std::initializer_list<const char*> further = {},
                         const char* flag = "--model");

// Tokens of a benchmark window, unless asked for others.
inline constexpr std::int64_t kDefaultWindow = 4096;

struct Text {
  std::filesystem::path file;
  std::string bytes;
};
// Of at most 1 GiB; the project's own documentation for an empty path.
Text read_text(const std::string& path);

// Throws ConfigError when a text of so many tokens has no window after those skipped: one of `length` tokens, as the
// flag says, of which `needed` are the text's.
void require_length(std::int64_t tokens, std::int64_t skip, std::int64_t needed, std::int64_t length,
                    const char* flag);

}  // namespace veloxquant::cli
