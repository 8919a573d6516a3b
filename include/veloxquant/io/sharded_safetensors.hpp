// The weights of a model folder: one model.safetensors, or shards named by model.safetensors.index.json.
//
//     {"metadata": {"total_size": 63980544},
//      "weight_map": {"model.norm.weight": "model-00005-of-00005.safetensors", ...}}
//
// When both are there the single file is taken, as transformers does. Every shard is mapped and checked at
// once. Shards are plain names of files in the folder: anything with a separator, ".." and absolute paths are
// refused (the files may be symbolic links, as in the Hugging Face cache; a loop of links is an IoError).
//
// Errors: ModelError for a folder without weights, a malformed index, a missing shard, a tensor that the
// index promises and its shard lacks, and a tensor held by two shards; for a shard itself as in
// safetensors.hpp.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <veloxquant/core/tensor.hpp>
#include <veloxquant/io/safetensors.hpp>

namespace veloxquant {

class ShardedSafetensors {
 public:
  static ShardedSafetensors open(const std::filesystem::path& folder, const SafetensorsLimits& limits = {});

  std::vector<std::string> names() const;  // sorted
  bool contains(const std::string& name) const { return shard_of_.count(name) != 0; }
  // Element type, shape and place without touching the data. Throws ModelError when there is no such tensor.
  const TensorInfo& info(const std::string& name) const;
  // A view that keeps its shard mapped (SafetensorsFile::tensor). Throws ModelError when there is no such
  // tensor.
  Tensor tensor(const std::string& name) const;
  const std::vector<SafetensorsFile>& shards() const noexcept { return shards_; }

 private:
  void add(SafetensorsFile shard);
  const SafetensorsFile& shard_with(const std::string& name) const;

  std::string folder_;
  std::vector<SafetensorsFile> shards_;
  std::map<std::string, std::size_t> shard_of_;  // tensor name to an index into shards_
};

}  // namespace veloxquant
