#include <gtest/gtest.h>

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
      }
      cache.trim(400);
      EXPECT_EQ(cache.nbytes(), held_bytes() - before);
    }
    EXPECT_EQ(held_bytes(), before);
  }
}

TEST(Memory, FourBitsTakeLessThanFourPointTwo) {
  PackedKVCache cache = make_cache({.head_dim = 128});
  append_in_pieces(cache, random_vectors({1, 2, 4096, 128}, 1), random_vectors({1, 2, 4096, 128}, 2), 512);
  const double elements = 2.0 * 2 * 4096 * 128;
  EXPECT_LE(8.0 * static_cast<double>(cache.nbytes()) / elements, 4.2);
  EXPECT_DOUBLE_EQ(8.0 * static_cast<double>(cache.coded_bytes()) / elements, 4.125);
}

// A longer row takes pieces of up to 16 more pages; what is there stays: no moment holds the pages twice.
TEST(Memory, GrowthTakesPiecesOfPages) {
  const CacheSetup setup{.keys = "fp16", .values = "fp16"};
  PackedKVCache cache = make_cache(setup);
  constexpr std::size_t kPage = 2 * (64 * 2 * 128);
  std::size_t pages = 0, room = 0;
  for (int i = 0; i < 50; ++i) {
    cache.append(random_vectors({1, 2, 64, 64}, 1));
    if (++pages > room) room += pages <= 2 ? 1 : std::min<std::size_t>(16, pages - 1);
    EXPECT_GE(cache.nbytes(), room * kPage) << pages;
    EXPECT_LE(cache.nbytes(), room * (kPage + 24) + 8 * 4096) << pages;
  }
}

}  // namespace
}  // namespace veloxquant
