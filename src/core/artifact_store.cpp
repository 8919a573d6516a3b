#include <veloxquant/core/artifact_store.hpp>

#include <fmt/format.h>

#include <cmath>
#include <utility>
#include <veloxquant/core/error.hpp>
#include <veloxquant/io/safetensors.hpp>

namespace veloxquant {
namespace {

constexpr const char* kSchemaKey = "veloxquant.schema";
constexpr const char* kSchema = "veloxquant.artifacts/1";

}  // namespace

void ArtifactStore::put(const std::string& name, Tensor tensor) { tensors_[name] = std::move(tensor); }

void ArtifactStore::set_fact(const std::string& name, std::string value) { facts_[name] = std::move(value); }

bool ArtifactStore::contains(const std::string& name) const { return tensors_.contains(name); }

const Tensor& ArtifactStore::get(const std::string& name, const std::string& user) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    throw ArtifactError(
        "artifacts", fmt::format("method '{}' needs '{}', which is not among the {} tensors here", user, name,
                                 tensors_.size()));
  }
  return found->second;
}

Tensor ArtifactStore::floats(const std::string& name, const std::string& user, const Shape& shape) const {
  constexpr float kLargest = 0x1p40f;
  const Tensor& tensor = get(name, user);
  if (tensor.dtype() != DType::f32 || tensor.shape() != shape) {
    throw ArtifactError(
        "artifacts", fmt::format("'{}' is {} {}; method '{}' needs f32 {}", name, to_string(tensor.dtype()),
                                 to_string(tensor.shape()), user, to_string(shape)));
  }
  const Tensor whole = tensor.contiguous();
  const float* values = whole.data<const float>();
  for (std::int64_t i = 0; i < whole.numel(); ++i) {
    if (std::fabs(values[i]) <= kLargest) continue;
    throw ArtifactError("artifacts",
                        fmt::format("'{}' holds {} at index {}; method '{}' needs finite values of at "
                                    "most {}",
                                    name, values[i], i, user, kLargest));
  }
  return whole;
}

std::size_t ArtifactStore::nbytes() const noexcept {
  std::size_t bytes = 0;
  for (const auto& [name, tensor] : tensors_) bytes += tensor.nbytes();
  return bytes;
}

void ArtifactStore::save(const std::filesystem::path& file) const {
  auto metadata = facts_;
  metadata[kSchemaKey] = kSchema;
  write_sealed_safetensors(file, {tensors_.begin(), tensors_.end()}, std::move(metadata));
}

ArtifactStore ArtifactStore::load(const std::filesystem::path& file) {
  const SafetensorsFile opened = open_sealed_safetensors(file);
  ArtifactStore store;
  store.facts_ = opened.metadata();
  store.facts_.erase(kChecksumKey);
  store.facts_.erase(kVersionKey);
  const auto schema = store.facts_.find(kSchemaKey);
  if (schema == store.facts_.end() || schema->second != kSchema) {
    throw ArtifactError("artifacts",
                        fmt::format("{} has the schema '{}', needs '{}'", file.string(),
                                    schema == store.facts_.end() ? "none" : schema->second, kSchema));
  }
  store.facts_.erase(schema);
  for (const auto& [name, info] : opened.tensors()) store.put(name, opened.tensor(name));
  return store;
}

}  // namespace veloxquant
