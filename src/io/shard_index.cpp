#include "io/shard_index.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>
#include <veloxquant/core/error.hpp>

#include "core/quote.hpp"
#include "io/json_events.hpp"

namespace veloxquant::io {
namespace {

constexpr int kDeepest = 16;  // of the metadata, which is skipped

class IndexVisitor final : public JsonVisitor {
 public:
  IndexVisitor(const std::string& file, const SafetensorsLimits& limits) : file_(file), limits_(limits) {}

  void begin_object() override {
    if (++depth_ == 2 && key_ == "weight_map")
      in_map_ = true;
    else
      descend("an object");
  }
  void end_object() override {
    if (--depth_ == 1) in_map_ = false;
  }
  void begin_array() override {
    if (++depth_ == 1) fail("found an array where an object is required");
    descend("an array");
  }
  void end_array() override { --depth_; }

  void key(std::string& text) override {
    if (depth_ == 1) {
      key_ = std::move(text);
      if (!keys_.insert(key_).second) fail(fmt::format("key {} occurs twice", quote(key_)));
      if (keys_.size() > kMostKeys) fail(fmt::format("more than {} keys at the top", kMostKeys));
    } else if (in_map_) {
      tensor_ = std::move(text);
      if (map_.count(tensor_) != 0) fail(fmt::format("tensor {} occurs twice", quote(tensor_)));
      if (map_.size() >= limits_.max_tensors)
        fail(fmt::format("more than {} tensors, the limit", limits_.max_tensors));
    }
  }

  void string(std::string& text) override {
    if (!in_map_) return scalar("a string");
    require_plain_name(text);
    shards_.insert(text);
    if (shards_.size() > limits_.max_shards)
      fail(fmt::format("more than {} shards, the limit", limits_.max_shards));
    map_.emplace(tensor_, std::move(text));
  }

  void number(std::uint64_t value) override { scalar(fmt::format("the number {}", value)); }
  void other(const std::string& found) override { scalar(found); }
  void malformed(const std::string& reason) override { fail("is not JSON: " + reason); }

  std::map<std::string, std::string> finish() {
    if (keys_.count("weight_map") == 0) throw ModelError("open", quote(file_) + ": has no weight_map");
    if (map_.empty()) throw ModelError("open", quote(file_) + ": weight_map names no tensors");
    return std::move(map_);
  }

 private:
  static constexpr std::size_t kMostKeys = 64;

  [[noreturn]] void fail(const std::string& what) const {
    throw ModelError("open", fmt::format("{}: {} (near byte {})", quote(file_), what, position()));
  }

  // Into or past a value that is not an entry of the weight map.
  void descend(const char* found) const {
    if (in_map_)
      fail(fmt::format("tensor {}: found {} where a file name is required", quote(tensor_), found));
    if (depth_ == 2 && key_ == "weight_map")
      fail(fmt::format("weight_map: found {} where an object is required", found));
    if (depth_ > kDeepest) fail(fmt::format("nesting deeper than {}", kDeepest));
  }
  void scalar(const std::string& found) const {
    if (in_map_)
      fail(fmt::format("tensor {}: found {} where a file name is required", quote(tensor_), found));
    if (depth_ == 0) fail(fmt::format("found {} where an object is required", found));
    if (depth_ == 1 && key_ == "weight_map")
      fail(fmt::format("weight_map: found {} where an object is required", found));
  }

  void require_plain_name(const std::string& name) const {
    const bool is_plain = !name.empty() && name != "." && name != ".." && name.size() <= 255 &&
                          name.find_first_of("/\\") == std::string::npos && !has_control(name);
    if (!is_plain) {
      fail(fmt::format("tensor {}: shard {} is not the plain name of a file in the folder", quote(tensor_),
                       quote(name)));
    }
  }

  const std::string& file_;
  const SafetensorsLimits& limits_;
  int depth_ = 0;
  bool in_map_ = false;
  std::string key_, tensor_;
  std::set<std::string> keys_, shards_;
  std::map<std::string, std::string> map_;
};

}  // namespace

std::map<std::string, std::string> read_shard_index(std::string_view text, const std::string& file,
                                                    const SafetensorsLimits& limits) {
  IndexVisitor visitor(file, limits);
  visit_json(text, visitor);
  return visitor.finish();
}

}  // namespace veloxquant::io
