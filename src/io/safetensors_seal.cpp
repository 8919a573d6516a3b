#define XXH_INLINE_ALL
#include <xxhash.h>

#include <fmt/format.h>

#include <map>
#include <string_view>
#include <veloxquant/core/error.hpp>
#include <veloxquant/core/version.hpp>
#include <veloxquant/io/safetensors.hpp>

#include "core/quote.hpp"
#include "io/safetensors_header.hpp"

namespace veloxquant {
namespace {

// The hash of a sequence of fields. Every text is preceded by its length, so that no two sequences of fields
// run together to the same bytes.
class SealHash {
 public:
  SealHash() { XXH3_64bits_reset(&state_); }

  void add(const void* bytes, std::size_t size) {
    if (size != 0) XXH3_64bits_update(&state_, bytes, size);
  }
  void add(std::uint64_t value) { add(&value, sizeof value); }
  void add(std::string_view text) {
    add(std::uint64_t{text.size()});
    add(text.data(), text.size());
  }
  std::string hex() const { return fmt::format("{:016x}", XXH3_64bits_digest(&state_)); }

 private:
  XXH3_state_t state_;
};

std::string seal_of(const Metadata& metadata, const std::map<std::string, Tensor>& tensors) {
  SealHash hash;
  hash.add(std::string_view("veloxquant seal 1"));
  hash.add(std::uint64_t{metadata.size() - metadata.count(kChecksumKey)});
  for (const auto& [key, value] : metadata) {
    if (key == kChecksumKey) continue;
    hash.add(std::string_view(key));
    hash.add(std::string_view(value));
  }
  hash.add(std::uint64_t{tensors.size()});
  for (const auto& [name, tensor] : tensors) {
    hash.add(std::string_view(name));
    hash.add(io::safetensors_name(tensor.dtype()));
    hash.add(std::uint64_t{tensor.rank()});
    for (const std::int64_t extent : tensor.shape()) hash.add(static_cast<std::uint64_t>(extent));
    hash.add(tensor.raw(), tensor.nbytes());
  }
  return hash.hex();
}

}  // namespace

void write_sealed_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                              Metadata metadata) {
  NamedTensors row_major;
  row_major.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) row_major.emplace_back(name, tensor.contiguous());
  metadata[kVersionKey] = version();
  metadata[kChecksumKey] = seal_of(metadata, {row_major.begin(), row_major.end()});
  write_safetensors(path, row_major, metadata);
}

SafetensorsFile open_sealed_safetensors(const std::filesystem::path& path, const SafetensorsLimits& limits) {
  SafetensorsFile file = SafetensorsFile::open(path, limits);
  verify_seal(file);
  return file;
}

void verify_seal(const SafetensorsFile& file) {
  const auto found = file.metadata().find(kChecksumKey);
  if (found == file.metadata().end()) {
    throw ArtifactError("verify",
                        fmt::format("{} has no metadata entry {}; it was not written by this library",
                                    quote(file.name()), kChecksumKey));
  }
  std::map<std::string, Tensor> tensors;
  for (const auto& entry : file.tensors()) tensors.emplace(entry.first, file.tensor(entry.first));
  const std::string actual = seal_of(file.metadata(), tensors);
  if (found->second != actual) {
    throw ArtifactError("verify",
                        fmt::format("{} says checksum {} but its content gives {}; the file is damaged",
                                    quote(file.name()), quote(found->second), actual));
  }
}

}  // namespace veloxquant
