#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>
#include <veloxquant/core/artifact_store.hpp>

#include "cache/page_pool.hpp"
#include "fixtures.hpp"

namespace veloxquant {
namespace {

using namespace veloxquant::testing;

TEST(Memory, ReportsExactlyWhatIsHeld) {
  const std::size_t before = held_bytes();
  for (const char* method :
       {"fp16", "turboquant_mse:3", "trellis:1", "affine:4", "q8_0", "cache_test_halves"}) {
    for (const std::int64_t exact : {0, 5, 70}) {
      const CacheSetup setup{
          .keys = method, .values = method, .batch = 3, .sinks = exact, .recent = 2 * exact};
      PackedKVCache cache = make_cache(setup);
      EXPECT_EQ(cache.nbytes(), held_bytes() - before);
      for (const std::int64_t count : {1, 62, 1, 1, 700, 3}) {
        cache.append(random_vectors({3, 2, count, 64}, 1));
        EXPECT_EQ(cache.nbytes(), held_bytes() - before) << method << " " << cache.size();
        EXPECT_EQ(PackedKVCache::nbytes_of(cache.config(), cache.methods(), cache.size()), cache.nbytes());
      }
      cache.trim(400);
      EXPECT_EQ(cache.nbytes(), held_bytes() - before);
    }
    EXPECT_EQ(held_bytes(), before);
  }
}

// What is counted as method bytes does not depend on artifacts that a method does not read.
TEST(Memory, LayersShareMethodsThatReadNoArtifacts) {
  KVCacheOptions options = options_of({.keys = "trellis:2", .values = "trellis:2:centre=true"});
  options.layers = 2;
  ArtifactStore store;
  for (const char* name : {"layers.0.values.mean", "layers.1.values.mean"})
    store.put(name, random_vectors({2, 64}, 1));
  const auto layers =
      make_layer_methods(KVCacheConfig(options), std::make_shared<const ArtifactStore>(store));
  EXPECT_EQ(layers[0].keys, layers[1].keys);
  EXPECT_NE(layers[0].values, layers[1].values);
}

TEST(Memory, FourBitsTakeLessThanFourPointTwo) {
  PackedKVCache cache = make_cache({.head_dim = 128});
  append_in_pieces(cache, random_vectors({1, 2, 4096, 128}, 1), random_vectors({1, 2, 4096, 128}, 2), 512);
  const double elements = 2.0 * 2 * 4096 * 128;
  EXPECT_LE(8.0 * static_cast<double>(cache.nbytes()) / elements, 4.2);
  EXPECT_DOUBLE_EQ(8.0 * static_cast<double>(cache.coded_bytes()) / elements, 4.125);
}

// A longer row takes more address space; what is there stays, no moment holds the pages twice, and only used pages
// are held. What is trimmed goes back to the system.
TEST(Memory, PagesInUseAreHeld) {
  PackedKVCache cache = make_cache({.keys = "fp16", .values = "fp16"});
  constexpr std::size_t kPage = 2 * (64 * 2 * 128);
  std::vector<std::size_t> by_pages;
  for (std::size_t pages = 1; pages <= 100; ++pages) {
    cache.append(random_vectors({1, 2, 64, 64}, 1));
    EXPECT_GE(cache.nbytes(), pages * kPage) << pages;
    EXPECT_LE(cache.nbytes(), pages * (kPage + 24) + 8 * 4096) << pages;
    by_pages.push_back(cache.nbytes());
  }
  for (std::size_t pages = 93; pages > 7; pages -= 7) {
    const std::size_t before = held_bytes() - cache.nbytes();
    cache.trim(64 * 7);
    EXPECT_EQ(held_bytes() - cache.nbytes(), before);
    // The lists keep their room.
    EXPECT_GE(cache.nbytes(), by_pages[pages - 1]);
    EXPECT_LE(cache.nbytes(), by_pages[pages - 1] + 2 * 100 * 24) << pages;
  }
}

// Pages of a clone in another thread may come and go while this cache's do.
TEST(Memory, ClonesGrowAndShrinkAtOnce) {
  const std::size_t before = held_bytes();
  {
    PackedKVCache cache = make_cache({.keys = "fp16", .values = "fp16"});
    cache.append(random_vectors({1, 2, 64 * 40, 64}, 1));
    const Tensor more = random_vectors({1, 2, 64 * 3, 64}, 2);
    std::vector<std::unique_ptr<KVCache>> clones;
    for (int i = 0; i < 3; ++i) clones.push_back(cache.clone());
    PackedKVCache expected = make_cache({.keys = "fp16", .values = "fp16"});
    expected.append(random_vectors({1, 2, 64 * 40, 64}, 1));
    for (int i = 0; i < 2; ++i) expected.append(more);
    std::vector<std::thread> threads;
    for (auto& clone : clones) {
      threads.emplace_back([&clone, &more] {
        for (int i = 0; i < 50; ++i) {
          clone->append(more);
          clone->append(more);
          if (i < 49) clone->trim(2 * 64 * 3);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (auto& clone : clones) EXPECT_EQ(bytes_of(static_cast<PackedKVCache&>(*clone)), bytes_of(expected));
  }
  EXPECT_EQ(held_bytes(), before);
}

}  // namespace
}  // namespace veloxquant
