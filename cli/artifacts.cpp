#include "artifacts.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>
#include <veloxquant/core/error.hpp>

#include "calibration/model_groups.hpp"
#include "inputs.hpp"

namespace veloxquant::cli {

std::filesystem::path artifact_file(const std::filesystem::path& folder, const std::string& method) {
  return folder / (method + ".safetensors");
}

std::string artifacts_for(const std::string& path, const BenchmarkMethod& method) {
  std::set<std::string> files;
  for (const MethodSpec* spec : {&method.keys, &method.values}) {
    if (QuantizerRegistry::info(spec->method).reads_artifacts) files.insert(spec->method);
    if (spec->options.centre) files.insert(kMeanMethod);
  }
  if (files.empty()) return {};
  if (path.empty()) {
    throw ConfigError("artifacts", fmt::format("{} needs artifacts of this model (--artifacts DIR), which "
                                               "`veloxquant precompute --method {}` makes",
                                               method.name(), *files.begin()));
  }
  if (!std::filesystem::is_directory(existing(path, "--artifacts"))) return path;
  if (files.size() == 1) return artifact_file(path, *files.begin()).string();
  throw ConfigError("artifacts", fmt::format("{} needs the artifacts of each of {}; a cache takes one file",
                                             method.name(), fmt::join(files, ", ")));
}

std::shared_ptr<const ArtifactStore> read_artifacts(const std::string& file) {
  if (file.empty()) return nullptr;
  return std::make_shared<const ArtifactStore>(ArtifactStore::load(existing(file, "--artifacts")));
}

void require_model(const ArtifactStore& artifacts, const std::string& file, const std::string& fingerprint) {
  const auto model = artifacts.facts().find("model");
  if (model != artifacts.facts().end() && model->second == fingerprint) return;
  throw ArtifactError("artifacts",
                      fmt::format("{} is of the model {}, this one is {}; run precompute on this model", file,
                                  model == artifacts.facts().end() ? "?" : model->second, fingerprint));
}

}  // namespace veloxquant::cli
