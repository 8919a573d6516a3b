#include "paths.hpp"

#include <fmt/format.h>

#include <veloxquant/core/error.hpp>

namespace veloxquant::cli {

std::filesystem::path executable_path() {
  std::error_code error;
  auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) throw IoError("paths", "the path of the running command cannot be read: " + error.message());
  return path;
}

std::filesystem::path default_text() {
  const auto folder = executable_path().parent_path();
  // The build tree keeps the text beside the command, an installation under share/.
  for (const auto& candidate : {folder / "sample_text.md", folder / "../share/veloxquant/sample_text.md"}) {
    if (std::filesystem::exists(candidate)) return candidate;
  }
  throw IoError("benchmark", fmt::format("no text came with the command in {}; name one with --text FILE",
                                         folder.string()));
}

}  // namespace veloxquant::cli
