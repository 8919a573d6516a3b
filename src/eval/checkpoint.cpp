#include "eval/checkpoint.hpp"

#include <system_error>
#include <utility>
#include <veloxquant/core/error.hpp>
#include <veloxquant/core/version.hpp>

namespace veloxquant {
namespace {

constexpr const char* kRequest = "request";
constexpr const char* kWriter = "writer";

}  // namespace

std::optional<ArtifactStore> Checkpoint::read() const {
  std::error_code none;
  if (file_.empty() || !std::filesystem::exists(file_, none)) return std::nullopt;
  try {
    ArtifactStore store = ArtifactStore::load(file_);
    const auto same = [&](const char* fact, const std::string& value) {
      const auto found = store.facts().find(fact);
      return found != store.facts().end() && found->second == value;
    };
    if (same(kRequest, request_) && same(kWriter, version())) return store;
  } catch (const ArtifactError&) {
    // Damaged: as good as none.
  }
  return std::nullopt;
}

void Checkpoint::write(ArtifactStore store) const {
  if (file_.empty()) return;
  store.set_fact(kRequest, request_);
  store.set_fact(kWriter, version());
  store.save(file_);
}

}  // namespace veloxquant
