// What the command line names and the command reads.
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>

namespace veloxquant::cli {

// An input that is not there: refused (exit code 2), unlike a system that fails to read one.
class MissingInput : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The path when something is there; throws MissingInput that names the flag.
const std::string& existing(const std::string& path, const char* flag);

struct Text {
  std::filesystem::path file;
  std::string bytes;
};
// Of at most 1 GiB; the project's own documentation for an empty path.
Text read_text(const std::string& path);

}  // namespace veloxquant::cli
