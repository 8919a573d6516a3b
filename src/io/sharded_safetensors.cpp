#include <fmt/format.h>

#include <system_error>
#include <utility>
#include <veloxquant/core/error.hpp>
#include <veloxquant/io/files.hpp>
#include <veloxquant/io/sharded_safetensors.hpp>

#include "core/quote.hpp"
#include "io/shard_index.hpp"

namespace veloxquant {
namespace {

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

// False only when nothing has that name; a link that leads nowhere or in a circle is for open to report.
bool is_there(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::symlink_status(path, ignored).type() != std::filesystem::file_type::not_found;
}

}  // namespace

ShardedSafetensors ShardedSafetensors::open(const std::filesystem::path& folder,
                                            const SafetensorsLimits& limits) {
  ShardedSafetensors model;
  model.folder_ = folder.string();
  if (is_there(folder / kSingle)) {
    model.add(SafetensorsFile::open(folder / kSingle, limits));
    return model;
  }
  const std::filesystem::path index = folder / kIndex;
  if (!is_there(index)) {
    throw ModelError("open",
                     fmt::format("folder {} has neither {} nor {}", quote(model.folder_), kSingle, kIndex));
  }
  const auto shard_of =
      io::read_shard_index(read_file(index, limits.max_header_bytes), index.string(), limits);

  std::map<std::string, std::size_t> opened;  // shard file to an index into shards_
  for (const auto& [tensor, shard] : shard_of) {
    if (opened.count(shard) == 0) {
      if (!is_there(folder / shard)) {
        throw ModelError("open", fmt::format("folder {} lacks the shard {}, which {} names",
                                             quote(model.folder_), quote(shard), kIndex));
      }
      opened.emplace(shard, model.shards_.size());
      model.add(SafetensorsFile::open(folder / shard, limits));
    }
    if (!model.shards_[opened.at(shard)].contains(tensor)) {
      throw ModelError("open", fmt::format("folder {}: {} places tensor {} in the shard {}, which lacks it",
                                           quote(model.folder_), kIndex, quote(tensor), quote(shard)));
    }
  }
  return model;
}

void ShardedSafetensors::add(SafetensorsFile shard) {
  for (const auto& entry : shard.tensors()) {
    const auto [place, is_new] = shard_of_.emplace(entry.first, shards_.size());
    if (!is_new) {
      throw ModelError("open", fmt::format("tensor {} is in two shards, {} and {}", quote(entry.first),
                                           quote(shards_[place->second].name()), quote(shard.name())));
    }
  }
  shards_.push_back(std::move(shard));
}

std::vector<std::string> ShardedSafetensors::names() const {
  std::vector<std::string> result;
  result.reserve(shard_of_.size());
  for (const auto& entry : shard_of_) result.push_back(entry.first);
  return result;
}

const SafetensorsFile& ShardedSafetensors::shard_with(const std::string& name) const {
  const auto found = shard_of_.find(name);
  if (found == shard_of_.end()) {
    throw ModelError("tensor", fmt::format("the model in {} has no tensor {} among its {}", quote(folder_),
                                           quote(name), shard_of_.size()));
  }
  return shards_[found->second];
}

const TensorInfo& ShardedSafetensors::info(const std::string& name) const {
  return shard_with(name).tensors().at(name);
}

Tensor ShardedSafetensors::tensor(const std::string& name) const { return shard_with(name).tensor(name); }

}  // namespace veloxquant
