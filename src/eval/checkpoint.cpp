#include "eval/checkpoint.hpp"

#include <fmt/format.h>

#include <span>
#include <system_error>
#include <veloxquant/core/artifact_store.hpp>
#include <veloxquant/core/error.hpp>
#include <veloxquant/core/version.hpp>

namespace veloxquant {
namespace {

constexpr const char* kRequest = "request";
constexpr const char* kWriter = "writer";
constexpr const char* kState = "state";  // f64 [n]

}  // namespace

std::optional<std::vector<double>> Checkpoint::read() const {
  std::error_code none;
  if (!keeps() || !std::filesystem::exists(file_, none)) return std::nullopt;
  try {
    const ArtifactStore store = ArtifactStore::load(file_);
    const auto same = [&](const char* fact, const std::string& value) {
      const auto found = store.facts().find(fact);
      return found != store.facts().end() && found->second == value;
    };
    if (!same(kRequest, request_) || !same(kWriter, version())) return std::nullopt;
    const std::span<const double> state = store.get(kState, "precompute").span<const double>();
    return std::vector<double>(state.begin(), state.end());
  } catch (const ArtifactError&) {
    return std::nullopt;  // damaged: as good as none
  }
}

void Checkpoint::write(const std::vector<double>& state) const {
  if (!keeps()) return;
  ArtifactStore store;
  store.put(kState, Tensor::copy_of<double>(state, {std::ssize(state)}));
  store.set_fact(kRequest, request_);
  store.set_fact(kWriter, version());
  std::error_code failed;
  std::filesystem::create_directories(file_.parent_path(), failed);
  if (failed)
    throw IoError("precompute", fmt::format("{}: {}", file_.parent_path().string(), failed.message()));
  store.save(file_);
}

}  // namespace veloxquant
