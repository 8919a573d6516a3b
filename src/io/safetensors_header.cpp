#include "io/safetensors_header.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>
#include <veloxquant/core/error.hpp>

#include "core/quote.hpp"
#include "io/json_events.hpp"

namespace veloxquant::io {
namespace {

constexpr std::uint64_t kLengthBytes = 8;
constexpr const char* kMetadata = "__metadata__";

// In the order of DType.
constexpr std::array<std::string_view, 13> kServed{"F32", "F16", "BF16", "F8_E4M3", "I8",  "U8", "I16",
                                                   "U16", "I32", "U32",  "I64",     "U64", "F64"};
// Known to the format, but of no use for attention caches, or with elements smaller than a byte.
constexpr std::array<std::string_view, 7> kNotServed{"BOOL",    "F4",      "F6_E2M3", "F6_E3M2",
                                                     "F8_E5M2", "F8_E8M0", "C64"};

[[noreturn]] void refuse(const ReadingOf& reading, const std::string& what) {
  throw ArtifactError(reading.operation, fmt::format("{}: {}", quote(reading.file), what));
}

// Bytes of the elements; nothing when a product beyond 2^62 occurs on the way (zero extents left aside, so
// that strides stay in range too).
std::optional<std::uint64_t> checked_bytes(const Shape& shape, DType dtype) {
  std::uint64_t bytes = size_of(dtype);
  bool is_empty = false;
  for (const std::int64_t extent : shape) {
    if (extent == 0)
      is_empty = true;
    else if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes) || bytes >> 62 != 0)
      return {};
  }
  return is_empty ? 0 : bytes;
}

// The header's one permitted form is flat enough for a place and two keys to say where the reader stands.
class HeaderVisitor final : public JsonVisitor {
 public:
  HeaderVisitor(const ReadingOf& reading, const SafetensorsLimits& limits, std::uint64_t data_bytes,
                SafetensorsHeader& header)
      : reading_(reading), limits_(limits), data_bytes_(data_bytes), header_(header) {}

  void begin_object() override {
    if (place_ == Place::document)
      place_ = Place::header;
    else if (place_ == Place::header && key_ == kMetadata)
      place_ = Place::metadata;
    else if (place_ == Place::header)
      begin_tensor();
    else
      wrong("an object");
  }

  void end_object() override {
    if (place_ == Place::tensor) end_tensor();
    place_ = place_ == Place::header ? Place::document : Place::header;
  }

  void begin_array() override {
    if (place_ == Place::tensor && field_ == "shape")
      place_ = Place::shape;
    else if (place_ == Place::tensor && field_ == "data_offsets")
      place_ = Place::offsets;
    else
      wrong("an array");
  }

  void end_array() override { place_ = Place::tensor; }

  void key(std::string& text) override {
    if (place_ == Place::header)
      top_level_key(text);
    else if (place_ == Place::metadata)
      metadata_key(text);
    else
      tensor_key(text);
  }

  void string(std::string& text) override {
    if (place_ == Place::metadata)
      metadata_value(text);
    else if (place_ == Place::tensor && field_ == "dtype")
      dtype_ = dtype_named(text);
    else
      wrong(fmt::format("the string {}", quote(text)));
  }

  void number(std::uint64_t value) override {
    if (place_ == Place::shape)
      add_extent(value);
    else if (place_ == Place::offsets)
      add_offset(value);
    else
      wrong(fmt::format("the number {}", value));
  }

  void other(const std::string& found) override { wrong(found); }
  void malformed(const std::string& reason) override { fail("header", "is not JSON: " + reason); }

 private:
  enum class Place { document, header, metadata, tensor, shape, offsets };

  // What the present value belongs to, for messages.
  std::string subject() const {
    switch (place_) {
      case Place::document:
        return "header";
      case Place::header:
        return key_ == kMetadata ? kMetadata : "tensor " + quote(key_);
      case Place::metadata:
        return fmt::format("{}, key {}", kMetadata, quote(field_));
      case Place::tensor:
      case Place::shape:
      case Place::offsets:
        return fmt::format("tensor {}, key {}", quote(key_), quote(field_));
    }
    return {};
  }

  const char* required() const {
    switch (place_) {
      case Place::document:
      case Place::header:
        return "an object";
      case Place::metadata:
        return "a string";
      case Place::tensor:
        return field_ == "dtype" ? "a string" : "an array of unsigned integers";
      case Place::shape:
      case Place::offsets:
        return "an unsigned integer below 2^64";
    }
    return "";
  }

  [[noreturn]] void fail(const std::string& who, const std::string& what) const {
    refuse(reading_, fmt::format("{} {} (near byte {})", who, what, kLengthBytes + position()));
  }

  [[noreturn]] void wrong(const std::string& found) const {
    fail(subject() + ":", fmt::format("found {} where {} is required", found, required()));
  }

  void top_level_key(std::string& text) {
    key_ = std::move(text);
    field_.clear();
    if (key_ == kMetadata) {
      if (std::exchange(has_metadata_, true)) fail(kMetadata, "occurs twice");
      return;
    }
    const std::string who = "tensor " + quote(key_);
    if (key_.empty()) fail(who, "has an empty name");
    if (key_.size() > limits_.max_name_bytes) {
      fail(who, fmt::format("has a name of {} bytes; the limit is {}", key_.size(), limits_.max_name_bytes));
    }
    if (has_control(key_)) fail(who, "has a control character in its name");
    if (key_.find_first_of("/\\") != std::string::npos) fail(who, "has a path separator in its name");
    if (header_.tensors.count(key_) != 0) fail(who, "occurs twice");
    if (header_.tensors.size() >= limits_.max_tensors) {
      fail(who, fmt::format("is one too many; the limit is {} tensors", limits_.max_tensors));
    }
  }

  void metadata_key(std::string& text) {
    field_ = std::move(text);
    if (header_.metadata.count(field_) != 0) fail(subject(), "occurs twice");
    if (header_.metadata.size() >= limits_.max_metadata_entries) {
      fail(subject(), fmt::format("is one too many; the limit is {} entries", limits_.max_metadata_entries));
    }
  }

  void metadata_value(std::string& text) {
    metadata_bytes_ += field_.size() + text.size();
    if (metadata_bytes_ > limits_.max_metadata_bytes) {
      fail(subject(), fmt::format("brings the metadata to {} bytes; the limit is {}", metadata_bytes_,
                                  limits_.max_metadata_bytes));
    }
    header_.metadata.emplace(field_, std::move(text));
  }

  void begin_tensor() {
    place_ = Place::tensor;
    dtype_.reset();
    shape_.clear();
    offsets_.clear();
    seen_.clear();
  }

  void tensor_key(std::string& text) {
    field_ = std::move(text);
    if (field_ != "dtype" && field_ != "shape" && field_ != "data_offsets") {
      fail(subject(), "is unknown; a tensor has dtype, shape and data_offsets");
    }
    if (std::find(seen_.begin(), seen_.end(), field_) != seen_.end()) fail(subject(), "occurs twice");
    seen_.push_back(field_);
  }

  DType dtype_named(const std::string& text) const {
    const auto served = std::find(kServed.begin(), kServed.end(), text);
    if (served != kServed.end()) return static_cast<DType>(served - kServed.begin());
    const bool is_known = std::find(kNotServed.begin(), kNotServed.end(), text) != kNotServed.end();
    fail(subject() + ":",
         fmt::format("element type {} is {}", quote(text), is_known ? "not served" : "unknown"));
  }

  void add_extent(std::uint64_t value) {
    if (shape_.size() >= limits_.max_rank) {
      fail(subject() + ":", fmt::format("more than {} axes, the limit", limits_.max_rank));
    }
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      fail(subject() + ":", fmt::format("extent {} is beyond 2^63-1", value));
    }
    shape_.push_back(static_cast<std::int64_t>(value));
  }

  void add_offset(std::uint64_t value) {
    if (offsets_.size() == 2) fail(subject() + ":", "more than two numbers; begin and end are required");
    offsets_.push_back(value);
  }

  void end_tensor() {
    const std::string who = "tensor " + quote(key_);
    for (const char* field : {"dtype", "shape", "data_offsets"}) {
      if (std::find(seen_.begin(), seen_.end(), field) == seen_.end())
        fail(who, fmt::format("has no {}", field));
    }
    if (offsets_.size() != 2) {
      fail(who, fmt::format("has {} data_offsets; begin and end are required", offsets_.size()));
    }
    const std::uint64_t begin = offsets_[0], end = offsets_[1];
    const std::string range = fmt::format("has data_offsets [{}, {}]", begin, end);
    if (begin > end) fail(who, range + ", which end before they begin");
    if (end > data_bytes_) {
      fail(who,
           fmt::format("{}, beyond the {} bytes of data; the file may be cut short", range, data_bytes_));
    }
    const auto bytes = checked_bytes(shape_, *dtype_);
    if (!bytes) {
      fail(who, fmt::format("has shape {} of {}, more than 2^62 bytes", to_string(shape_),
                            safetensors_name(*dtype_)));
    }
    if (*bytes != end - begin) {
      fail(who, fmt::format("{}, {} bytes, but shape {} of {} takes {}", range, end - begin,
                            to_string(shape_), safetensors_name(*dtype_), *bytes));
    }
    header_.tensors.emplace(key_, TensorInfo{*dtype_, shape_, begin, end});
  }

  const ReadingOf& reading_;
  const SafetensorsLimits& limits_;
  const std::uint64_t data_bytes_;
  SafetensorsHeader& header_;

  Place place_ = Place::document;
  std::string key_, field_;  // the top-level key; the key inside its object
  bool has_metadata_ = false;
  std::uint64_t metadata_bytes_ = 0;
  std::optional<DType> dtype_;  // of the tensor being read
  Shape shape_;
  std::vector<std::uint64_t> offsets_;
  std::vector<std::string> seen_;
};

std::uint64_t read_length(std::span<const std::byte> head, std::uint64_t file_bytes, const ReadingOf& reading,
                          const SafetensorsLimits& limits) {
  if (file_bytes > limits.max_file_bytes) {
    refuse(reading, fmt::format("holds {} bytes; the limit is {}", file_bytes, limits.max_file_bytes));
  }
  if (file_bytes < kLengthBytes) {
    refuse(reading,
           fmt::format("holds {} bytes; a safetensors file has at least {}", file_bytes, kLengthBytes + 2));
  }
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) length |= std::to_integer<std::uint64_t>(head[i]) << (8 * i);
  if (length > limits.max_header_bytes) {
    refuse(reading,
           fmt::format("header length {} (bytes 0 to 7); the limit is {}; this may not be a safetensors file",
                       length, limits.max_header_bytes));
  }
  if (length > file_bytes - kLengthBytes) {
    refuse(reading,
           fmt::format("header length {} (bytes 0 to 7) is beyond the file of {} bytes; it may be cut short",
                       length, file_bytes));
  }
  if (length < 2)
    refuse(reading, fmt::format("header length {} (bytes 0 to 7); the shortest header is {{}}", length));
  return length;
}

// The JSON object proper: it begins at once, and after it come spaces alone.
std::string_view without_padding(std::string_view text, const ReadingOf& reading) {
  if (text.front() != '{') {
    refuse(reading, fmt::format("header begins with {} (byte {}); '{{' is required", quote(text.substr(0, 1)),
                                kLengthBytes));
  }
  const std::size_t size = text.find_last_not_of(' ') + 1;
  if (text[size - 1] != '}') {
    refuse(reading, fmt::format("header ends with {} (byte {}); '}}' is required, padded with spaces alone",
                                quote(text.substr(size - 1, 1)), kLengthBytes + size - 1));
  }
  return text.substr(0, size);
}

// Every byte of the data section belongs to exactly one tensor.
void require_partition(const SafetensorsHeader& header, std::uint64_t data_bytes, const ReadingOf& reading) {
  using Entry = std::pair<const std::string, TensorInfo>;
  std::vector<const Entry*> order;
  order.reserve(header.tensors.size());
  for (const Entry& entry : header.tensors) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](const Entry* a, const Entry* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  std::uint64_t covered = 0;
  for (const Entry* entry : order) {
    const auto& [name, info] = *entry;
    if (info.begin != covered) {
      refuse(reading,
             fmt::format("tensor {} begins at byte {} of the data, the tensor before it ends at {}: {}",
                         quote(name), info.begin, covered, info.begin < covered ? "an overlap" : "a hole"));
    }
    covered = info.end;
  }
  if (covered != data_bytes) {
    refuse(reading, fmt::format("{} bytes are left over after the last tensor (byte {})",
                                data_bytes - covered, header.data_offset + covered));
  }
}

}  // namespace

SafetensorsHeader read_safetensors_header(std::span<const std::byte> head, std::uint64_t file_bytes,
                                          const ReadingOf& reading, const SafetensorsLimits& limits) {
  const std::uint64_t length = read_length(head, file_bytes, reading, limits);
  const std::string_view text(reinterpret_cast<const char*>(head.data()) + kLengthBytes, length);

  SafetensorsHeader header;
  header.data_offset = kLengthBytes + length;
  const std::uint64_t data_bytes = file_bytes - header.data_offset;
  HeaderVisitor visitor(reading, limits, data_bytes, header);
  visit_json(without_padding(text, reading), visitor);
  require_partition(header, data_bytes, reading);
  return header;
}

std::string_view safetensors_name(DType dtype) { return kServed[static_cast<std::size_t>(dtype)]; }

}  // namespace veloxquant::io
