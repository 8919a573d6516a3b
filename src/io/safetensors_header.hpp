// The head of a safetensors file, checked by every rule of <veloxquant/io/safetensors.hpp>.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <veloxquant/io/safetensors.hpp>

namespace veloxquant::io {

struct SafetensorsHeader {
  std::map<std::string, TensorInfo> tensors;
  std::map<std::string, std::string> metadata;
  std::uint64_t data_offset = 0;  // where the data section begins in the file
};

// Who reads what, for messages: [operation] 'file': ...
struct ReadingOf {
  std::string operation, file;
};

// `head` holds at least the length field and the header of a file of `file_bytes` bytes, or all of a shorter
// file. Throws ArtifactError.
SafetensorsHeader read_safetensors_header(std::span<const std::byte> head, std::uint64_t file_bytes,
                                          const ReadingOf& reading, const SafetensorsLimits& limits);

// "F32", "BF16", "F8_E4M3", ...
std::string_view safetensors_name(DType dtype);

}  // namespace veloxquant::io
