#include "artifacts.hpp"

#include <fmt/format.h>

#include <veloxquant/core/error.hpp>

#include "inputs.hpp"

namespace veloxquant::cli {

std::filesystem::path artifact_file(const std::filesystem::path& folder, const std::string& method) {
  return folder / (method + ".safetensors");
}

std::shared_ptr<const ArtifactStore> read_artifacts(const std::string& path) {
  if (path.empty()) return nullptr;
  const bool folder = std::filesystem::is_directory(existing(path, "--artifacts"));
  return std::make_shared<const ArtifactStore>(
      ArtifactStore::load(folder ? artifact_file(path, "spectral") : std::filesystem::path(path)));
}

std::shared_ptr<const ArtifactStore> load_artifacts(const std::string& path, const std::string& fingerprint) {
  auto store = read_artifacts(path);
  if (store == nullptr) return store;
  const auto model = store->facts().find("model");
  if (model == store->facts().end() || model->second != fingerprint) {
    throw ArtifactError(
        "artifacts", fmt::format("{} is of the model {}, this one is {}; run precompute on this model", path,
                                 model == store->facts().end() ? "?" : model->second, fingerprint));
  }
  return store;
}

}  // namespace veloxquant::cli
