// `veloxquant inspect DIR`: what a model folder holds, and whether it is served.
#pragma once

#include <filesystem>
#include <string>

namespace veloxquant::cli {

// Prints the model's family, shape, rotary embedding, weights, fingerprint and vocabulary in the format asked
// for (table, json), or why it is not served. Reads all weights, for the fingerprint. Returns kDone for a model
// that is served, else kRefused; throws IoError for a file that cannot be read.
int inspect_model(const std::filesystem::path& folder, const std::string& format);

}  // namespace veloxquant::cli
