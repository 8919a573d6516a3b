// Calibration artifacts on the command line: a folder as `precompute --output` fills it, or one file of it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <veloxquant/core/artifact_store.hpp>
#include <veloxquant/eval/result.hpp>

namespace veloxquant::cli {

// The file that `precompute` writes for a method into its output folder.
std::filesystem::path artifact_file(const std::filesystem::path& folder, const std::string& method);

// The file that --artifacts PATH means for a method: PATH itself, or the method's own file in that folder (of
// methods with a mean taken out, that of `precompute --method mean`). Empty for an empty path and for methods
// that are not calibrated. Throws ConfigError when keys and values would need a file of a folder each.
std::string artifacts_for(const std::string& path, const BenchmarkMethod& method);

// Null for an empty path. Throws what reading throws.
std::shared_ptr<const ArtifactStore> read_artifacts(const std::string& file);
// Throws ArtifactError when the artifacts of this file are of another model than the one with this fingerprint.
void require_model(const ArtifactStore& artifacts, const std::string& file, const std::string& fingerprint);

}  // namespace veloxquant::cli
