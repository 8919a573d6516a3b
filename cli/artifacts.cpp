#include "artifacts.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>
#include <veloxquant/core/error.hpp>

#include "inputs.hpp"

namespace veloxquant::cli {

std::filesystem::path artifact_file(const std::filesystem::path& folder, const std::string& method) {
  return folder / (method + ".safetensors");
}

std::string artifacts_for(const std::string& path, const std::vector<BenchmarkMethod>& methods) {
  if (path.empty() || !std::filesystem::is_directory(existing(path, "--artifacts"))) return path;
  std::set<std::string> names;
  for (const BenchmarkMethod& method : methods) {
    for (const MethodSpec* spec : {&method.keys, &method.values}) {
      if (QuantizerRegistry::info(spec->method).reads_artifacts) names.insert(spec->method);
    }
  }
  if (names.size() == 1) return artifact_file(path, *names.begin()).string();
  throw ConfigError("artifacts",
                    names.empty()
                        ? fmt::format("{} is a folder, in which none of the methods has a file of its "
                                      "own; name a file",
                                      path)
                        : fmt::format("{} has a file for each of {}; one run takes one of them", path,
                                      fmt::join(names, ", ")));
}

std::shared_ptr<const ArtifactStore> read_artifacts(const std::string& file) {
  if (file.empty()) return nullptr;
  return std::make_shared<const ArtifactStore>(ArtifactStore::load(existing(file, "--artifacts")));
}

std::shared_ptr<const ArtifactStore> load_artifacts(const std::string& file, const std::string& fingerprint) {
  auto store = read_artifacts(file);
  if (store == nullptr) return store;
  const auto model = store->facts().find("model");
  if (model == store->facts().end() || model->second != fingerprint) {
    throw ArtifactError(
        "artifacts", fmt::format("{} is of the model {}, this one is {}; run precompute on this model", file,
                                 model == store->facts().end() ? "?" : model->second, fingerprint));
  }
  return store;
}

}  // namespace veloxquant::cli
