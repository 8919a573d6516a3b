// Caches with synthetic content: normal noise, really coded.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>
#include <veloxquant/cache/packed_kv_cache.hpp>

#include "pairs.hpp"

namespace veloxquant::bench {

// Heads and head size of a layer.
struct LayerShape {
  int q_heads = 32, kv_heads = 8, head_dim = 128;

  // "32/8x128"
  static LayerShape parse(const std::string& text);
  std::string to_string() const;
  bool operator==(const LayerShape&) const = default;
};

using CachePtr = std::unique_ptr<PackedKVCache>;

// f32 normal noise.
Tensor noise(Shape shape, std::uint64_t seed);

// Makes caches of one pair of codes. Coding a long context costs far more than reading it, so it is coded
// once, saved, and loaded into as many caches as are wanted, each with pages of its own.
class CacheMaker {
 public:
  CacheMaker(const Pair& pair, const LayerShape& shape);
  ~CacheMaker();
  CacheMaker(const CacheMaker&) = delete;
  CacheMaker& operator=(const CacheMaker&) = delete;

  CachePtr empty(std::shared_ptr<ThreadPool> pool) const;
  // `count` caches of `tokens` tokens, which run on `pool`.
  std::vector<CachePtr> filled(std::int64_t tokens, std::size_t count,
                               const std::shared_ptr<ThreadPool>& pool);

 private:
  void save(std::int64_t tokens);

  std::shared_ptr<const KVCacheConfig> config_;
  LayerMethods methods_;
  std::shared_ptr<ThreadPool> all_processors_;
  CachePtr source_;
  int saved_ = -1;  // descriptor of a file that has no name any more, so that nothing stays behind
  std::int64_t saved_tokens_ = 0;
};

}  // namespace veloxquant::bench
