#include <fcntl.h>
#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <utility>
#include <veloxquant/core/error.hpp>
#include <veloxquant/io/safetensors.hpp>

#include "core/quote.hpp"
#include "io/file.hpp"
#include "io/safetensors_header.hpp"

namespace veloxquant {

static_assert(std::endian::native == std::endian::little, "safetensors elements are little-endian");

struct SafetensorsFile::Contents {
  std::string name;
  std::shared_ptr<const void> bytes;  // of the whole file
  io::SafetensorsHeader header;
};

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path, const SafetensorsLimits& limits) {
  const io::ReadingOf reading{"open", path.string()};
  // O_NONBLOCK: opening a pipe must not wait for a writer.
  const io::File file("open", path, O_RDONLY | O_NONBLOCK);
  const std::uint64_t size = file.size(limits.max_file_bytes);
  if (size == 0) throw ArtifactError("open", quote(reading.file) + " is empty");

  std::shared_ptr<const void> bytes = file.map(size);
  const std::span all(static_cast<const std::byte*>(bytes.get()), size);
  auto header = io::read_safetensors_header(all, size, reading, limits);
  return SafetensorsFile(
      std::make_shared<const Contents>(Contents{reading.file, std::move(bytes), std::move(header)}));
}

SafetensorsFile SafetensorsFile::parse(std::span<const std::byte> bytes, const std::string& name,
                                       const SafetensorsLimits& limits) {
  auto header = io::read_safetensors_header(bytes, bytes.size(), {"parse", name}, limits);
  const Tensor copy = Tensor::empty({static_cast<std::int64_t>(bytes.size())}, DType::u8);
  std::memcpy(copy.raw(), bytes.data(), bytes.size());
  const std::shared_ptr<const void> owned(copy.raw(), [copy](const void*) {});
  return SafetensorsFile(std::make_shared<const Contents>(Contents{name, owned, std::move(header)}));
}

const std::string& SafetensorsFile::name() const noexcept { return contents_->name; }

const std::map<std::string, TensorInfo>& SafetensorsFile::tensors() const noexcept {
  return contents_->header.tensors;
}

const std::map<std::string, std::string>& SafetensorsFile::metadata() const noexcept {
  return contents_->header.metadata;
}

bool SafetensorsFile::contains(const std::string& tensor_name) const {
  return tensors().count(tensor_name) != 0;
}

Tensor SafetensorsFile::tensor(const std::string& tensor_name) const {
  const auto found = tensors().find(tensor_name);
  if (found == tensors().end()) {
    throw ArtifactError("tensor", fmt::format("{} has no tensor {} among its {}", quote(name()),
                                              quote(tensor_name), tensors().size()));
  }
  const TensorInfo& info = found->second;
  const auto* data =
      static_cast<const std::byte*>(contents_->bytes.get()) + contents_->header.data_offset + info.begin;
  if (reinterpret_cast<std::uintptr_t>(data) % size_of(info.dtype) != 0) {
    const Tensor aligned = Tensor::empty(info.shape, info.dtype);
    std::memcpy(aligned.raw(), data, info.end - info.begin);
    return aligned;
  }
  return Tensor::wrap(const_cast<std::byte*>(data), info.shape, info.dtype, {}, contents_);
}

}  // namespace veloxquant
