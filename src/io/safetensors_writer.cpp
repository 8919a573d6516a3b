#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string_view>
#include <vector>
#include <veloxquant/core/error.hpp>
#include <veloxquant/io/safetensors.hpp>

#include "core/quote.hpp"
#include "io/atomic_file.hpp"
#include "io/safetensors_header.hpp"

namespace veloxquant {
namespace {

constexpr std::size_t kDataAlignment = 64;

// A JSON string. Only the escapes that spell one way are written (in backslash-u escapes the case of a digit
// is free), so that no two headers say the same.
std::string json_string(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        result += "\\\"";
        break;
      case '\\':
        result += "\\\\";
        break;
      case '\n':
        result += "\\n";
        break;
      case '\r':
        result += "\\r";
        break;
      case '\t':
        result += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
          throw ArtifactError(
              "write",
              fmt::format("control character in {}; tab, newline and return are served", quote(text)));
        }
        result += c;
    }
  }
  return result + '"';
}

void require_writable(const std::string& name, const Tensor& tensor) {
  if (tensor.device() != Device::cpu) {
    throw UnsupportedError("write", fmt::format("tensor {} is not in CPU memory", quote(name)));
  }
  if (tensor.raw() == nullptr && (tensor.rank() == 0 || tensor.numel() != 0)) {
    throw ArtifactError("write", fmt::format("tensor {} is undefined", quote(name)));
  }
}

// The entries in the order of their data: any order of falling element size keeps all of them aligned.
std::vector<const NamedTensors::value_type*> data_order(const NamedTensors& tensors) {
  std::vector<const NamedTensors::value_type*> order;
  order.reserve(tensors.size());
  for (const std::size_t size : {8u, 4u, 2u, 1u}) {
    for (const auto& entry : tensors) {
      if (size_of(entry.second.dtype()) == size) order.push_back(&entry);
    }
  }
  return order;
}

// The length field and the padded header.
std::string head_of(const std::vector<const NamedTensors::value_type*>& order, const Metadata& metadata) {
  std::vector<std::string> entries;
  if (!metadata.empty()) {
    std::vector<std::string> pairs;
    for (const auto& [key, value] : metadata) pairs.push_back(json_string(key) + ':' + json_string(value));
    entries.push_back(fmt::format(R"("__metadata__":{{{}}})", fmt::join(pairs, ",")));
  }
  std::uint64_t offset = 0;
  for (const auto* entry : order) {
    const auto& [name, tensor] = *entry;
    require_writable(name, tensor);
    const std::uint64_t end = offset + tensor.nbytes();
    entries.push_back(fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                                  json_string(name), io::safetensors_name(tensor.dtype()),
                                  fmt::join(tensor.shape(), ","), offset, end));
    offset = end;
  }
  const std::string header = fmt::format("{{{}}}", fmt::join(entries, ","));

  std::string head(8, '\0');
  head += header;
  head.resize((head.size() + kDataAlignment - 1) / kDataAlignment * kDataAlignment, ' ');
  const std::uint64_t length = head.size() - 8;
  for (std::size_t i = 0; i < 8; ++i) head[i] = static_cast<char>(length >> (8 * i) & 0xff);
  return head;
}

std::span<const std::byte> bytes_of(const Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.raw()), tensor.nbytes()};
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const Metadata& metadata) {
  const auto order = data_order(tensors);
  const std::string head = head_of(order, metadata);
  std::uint64_t size = head.size();
  for (const auto* entry : order) size += entry->second.nbytes();
  // What the reader would refuse is not written: names, ranks, limits, invalid UTF-8.
  io::read_safetensors_header(std::as_bytes(std::span(head)), size, {"write", path.string()}, {});

  io::AtomicFile file(path);
  file.write(std::as_bytes(std::span(head)));
  for (const auto* entry : order) file.write(bytes_of(entry->second.contiguous()));
  file.commit();
}

}  // namespace veloxquant
