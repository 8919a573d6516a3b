// Model folders, caches and expected values for the tests of this folder.
#pragma once

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>
#include <veloxquant/models/decoder.hpp>

namespace veloxquant::testing {

inline const std::filesystem::path kSource = VELOXQUANT_SOURCE_DIR;
inline const std::filesystem::path kTestData = VELOXQUANT_TEST_DATA;
inline const std::filesystem::path kDemoModel = kSource / "models/demo/probe-6m-llama";
inline const std::filesystem::path kTinyModels = kSource / "tests/models/data";

using Caches = std::vector<std::unique_ptr<PackedKVCache>>;

inline Caches caches_for(const Decoder& model, const std::string& method = "fp32") {
  KVCacheOptions options = model.cache_options();
  options.keys = options.values = MethodSpec::parse(method);
  return make_caches(std::make_shared<const KVCacheConfig>(options), {}, model.pool());
}

inline std::string text_of(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw std::runtime_error("cannot open " + file.string());
  return {std::istreambuf_iterator<char>(stream), {}};
}

// The elements of a one-dimensional .npy file, version 1.
template <class T>
std::vector<T> read_npy(const std::filesystem::path& file) {
  const std::string bytes = text_of(file);
  std::uint16_t header = 0;
  std::memcpy(&header, bytes.data() + 8, sizeof header);
  const std::size_t begin = 10 + std::size_t{header};
  std::vector<T> values((bytes.size() - begin) / sizeof(T));
  std::memcpy(values.data(), bytes.data() + begin, values.size() * sizeof(T));
  return values;
}

// A folder that goes away with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    static int count = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("veloxquant_models_" + std::to_string(::getpid()) + "_" + std::to_string(count++));
    std::filesystem::create_directory(path_);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace veloxquant::testing
