// safetensors: the one container of the project, for model weights, activation dumps, calibration artifacts
// and saved caches (https://github.com/huggingface/safetensors, "Format").
//
//     bytes 0..7        N, the header's length in bytes, little-endian
//     bytes 8..8+N-1    the header: a JSON object, padded at its end with spaces
//                         {"__metadata__": {"key": "value", ...},
//                          "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
//     bytes 8+N..       the data section: row-major little-endian elements, without holes, to the file's end
//
// The reader takes any bytes and ends in a value or a named error. It refuses, beyond what is not well
// formed: duplicate keys (also in the metadata), unknown keys, numbers that are negative, fractional or
// beyond their range, a size that is not shape x element size, ranges that overlap, leave a hole or leave
// bytes over (one file never reads as two), names that are empty, over-long or hold control characters or
// path separators, and everything beyond the limits given. Element types served: F64 F32 F16 BF16 F8_E4M3 I8
// U8 I16 U16 I32 U32 I64 U64. Its memory stays within a small multiple of the header; tensors are not copied.
//
// Errors: IoError when the operating system refuses; ArtifactError for malformed content, with the file, the
// tensor or key, the value, the limit and the byte of the file near which it was found.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <veloxquant/core/tensor.hpp>

namespace veloxquant {

// What a reader accepts at most. The defaults fit every published model; lower them for files from strangers.
struct SafetensorsLimits {
  std::uint64_t max_file_bytes = std::uint64_t{1} << 40;
  std::uint64_t max_header_bytes = 100'000'000;  // the reference implementation's own limit
  std::uint64_t max_tensors = 100'000;
  std::uint64_t max_rank = 8;
  std::uint64_t max_name_bytes = 512;
  std::uint64_t max_metadata_entries = 4096;
  std::uint64_t max_metadata_bytes = 16 << 20;  // keys and values together
  std::uint64_t max_shards = 1024;              // files of one sharded model
};

struct TensorInfo {
  DType dtype;
  Shape shape;
  std::uint64_t begin, end;  // byte range within the data section
};

// An open file. Copies share the mapping, and any number of threads may read at once.
class SafetensorsFile {
 public:
  // Maps the file and checks its whole header; element bytes are not read before somebody looks at them.
  // The mapping is of the file itself: replacing the file (see files.hpp) does not disturb it, but if another
  // process truncates the file in place while it is mapped, touching the lost pages raises SIGBUS, and bytes
  // overwritten in place change under the reader.
  static SafetensorsFile open(const std::filesystem::path& path, const SafetensorsLimits& limits = {});
  // The same for bytes in memory, which are copied; `name` stands for the path in messages.
  static SafetensorsFile parse(std::span<const std::byte> bytes, const std::string& name = "memory",
                               const SafetensorsLimits& limits = {});

  // The path given to open, or the name given to parse.
  const std::string& name() const noexcept;
  const std::map<std::string, TensorInfo>& tensors() const noexcept;
  const std::map<std::string, std::string>& metadata() const noexcept;
  bool contains(const std::string& tensor_name) const;

  // A view of the mapped elements, which it keeps mapped; the memory is read-only, so copy() before writing.
  // Elements at an address that is not a multiple of their size are copied to aligned memory instead.
  // Throws ArtifactError when there is no such tensor.
  Tensor tensor(const std::string& tensor_name) const;

 private:
  struct Contents;
  explicit SafetensorsFile(std::shared_ptr<const Contents> contents) : contents_(std::move(contents)) {}
  std::shared_ptr<const Contents> contents_;
};

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;
using Metadata = std::map<std::string, std::string>;

// Creates or replaces a file, atomically (files.hpp). The bytes are a function of the arguments alone.
// Tensors of wider elements come first, otherwise in the given order, and the data section starts at a
// multiple of 64, so that every tensor is aligned to its element size. Strided tensors are written row-major.
// Throws ArtifactError for what the reader would refuse under its default limits and for metadata with
// control characters other than tab, newline and return; UnsupportedError for tensors outside CPU memory.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const Metadata& metadata = {});

// Sealed files carry the metadata entry "veloxquant.checksum": 16 lower-case hexadecimal digits of the
// XXH3-64 hash (seed 0) of these bytes, where every count and length is 8 bytes, little-endian:
//
//     length, "veloxquant seal 1"
//     count of the other metadata entries; for each, by key:   length, key; length, value
//     count of the tensors; for each, by name:                 length, name; length, element type ("BF16");
//                                                              rank; extents; the elements
//
// Any one flipped bit of a file written here is detected; a tool that stores the same tensors and metadata in
// another order keeps the seal valid. It guards against damage, not against forgery.
inline constexpr const char* kChecksumKey = "veloxquant.checksum";
// The version() that wrote the file, for people: schemas say what can be read. Files of 0.1.0 may lack it.
inline constexpr const char* kVersionKey = "veloxquant.version";

// write_safetensors with the version and the seal added; what `metadata` says under these keys is replaced.
void write_sealed_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                              Metadata metadata = {});
// SafetensorsFile::open, then verify_seal: reads the whole file once.
SafetensorsFile open_sealed_safetensors(const std::filesystem::path& path,
                                        const SafetensorsLimits& limits = {});
// Throws ArtifactError when the checksum is missing or does not match.
void verify_seal(const SafetensorsFile& file);

}  // namespace veloxquant
