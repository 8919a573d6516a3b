// Where the files that come with the project lie: in the source tree, or in the installed tree.
#pragma once

#include <filesystem>

namespace veloxquant::cli {

// The text that `benchmark` measures on when no other is given: the project's own documentation, joined into
// one file when the command is built. Throws IoError when it is neither beside the command nor installed.
std::filesystem::path default_text();

// The running executable.
std::filesystem::path executable_path();

}  // namespace veloxquant::cli
