// Folders, bytes and error texts for the tests of the io room.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>
#include <veloxquant/core/error.hpp>
#include <veloxquant/io/safetensors.hpp>

namespace veloxquant::test {

// A fresh folder that goes with its contents when the object does.
class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "veloxquant-io-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = pattern;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

  std::vector<std::string> files() const {  // names, sorted
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  std::filesystem::path path_;
};

inline void put(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline std::string get(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::string length_field(std::uint64_t length) {
  std::string field(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) field[i] = static_cast<char>(length >> (8 * i) & 0xff);
  return field;
}

// A file of the given header text and data.
inline std::string file_of(const std::string& header, const std::string& data = {}) {
  return length_field(header.size()) + header + data;
}

inline SafetensorsFile parse(std::string_view bytes, const SafetensorsLimits& limits = {}) {
  return SafetensorsFile::parse(std::as_bytes(std::span(bytes)), "test", limits);
}

// The message of the error E that `call` must throw.
template <class E, class Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const E& e) {
    return e.what();
  } catch (const std::exception& e) {
    ADD_FAILURE() << "another error: " << e.what();
    return {};
  }
  ADD_FAILURE() << "no error";
  return {};
}

inline std::string bytes_of(const Tensor& tensor) {
  const Tensor row_major = tensor.contiguous();
  return {static_cast<const char*>(row_major.raw()), row_major.nbytes()};
}

// A tensor whose bytes count up from `first`.
inline Tensor counting(Shape shape, DType dtype, int first = 0) {
  Tensor tensor = Tensor::empty(std::move(shape), dtype);
  auto* bytes = static_cast<unsigned char*>(tensor.raw());
  for (std::size_t i = 0; i < tensor.nbytes(); ++i)
    bytes[i] = static_cast<unsigned char>(first + static_cast<int>(i));
  return tensor;
}

}  // namespace veloxquant::test
