#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "cache/page_pool.hpp"
#include "failing_memory.hpp"
#include "fixtures.hpp"

namespace {
std::atomic<int> allocations_left{-1};  // below zero: no failure is asked for
}

void* operator new(std::size_t size, std::align_val_t alignment) {
  if (allocations_left.load() >= 0 && allocations_left.fetch_sub(1) == 0) throw std::bad_alloc();
  const auto step = static_cast<std::size_t>(alignment);
  void* memory = std::aligned_alloc(step, (size + step - 1) / step * step);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace veloxquant {
namespace testing {
FailingMemory::FailingMemory(int count) noexcept { allocations_left = count; }
FailingMemory::~FailingMemory() { allocations_left = -1; }
bool FailingMemory::failed() const noexcept { return allocations_left < 0; }
}  // namespace testing

namespace {

using namespace veloxquant::testing;

TEST(Memory, ReportsExactlyWhatIsHeld) {
  const std::size_t before = held_bytes();
  for (const char* method : {"fp16", "turboquant_mse:3", "trellis:1", "affine:4", "q8_0", "cache_test_halves"}) {
    for (const std::int64_t exact : {0, 5, 70}) {
      const CacheSetup setup{.keys = method, .values = method, .batch = 3, .sinks = exact, .recent = 2 * exact};
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

TEST(Memory, GrowthLeavesPagesWhereTheyAre) {
  const CacheSetup setup{.keys = "fp16", .values = "fp16"};
  PackedKVCache cache = make_cache(setup);
  cache.append(random_vectors({1, 2, 64, 64}, 1));
  for (int i = 0; i < 50; ++i) {
    const std::size_t before = cache.nbytes();
    cache.append(random_vectors({1, 2, 64, 64}, 1));
    EXPECT_LE(cache.nbytes() - before, 2 * (64 * 2 * 128 + 4) + 200u);
  }
}

TEST(Memory, FailureToAllocateLeavesTheCacheAsItWas) {
  const CacheSetup setup{.batch = 2, .sinks = 2, .recent = 4};
  const Tensor start = random_vectors({2, 2, 100, 64}, 1), more = random_vectors({2, 2, 600, 64}, 2);
  PackedKVCache expected = make_cache(setup);
  expected.append(start);
  const std::string bytes = bytes_of(expected);
  expected.append(more);
  const std::size_t held = held_bytes();
  bool failed = true;
  for (int count = 0; failed; ++count) {
    ASSERT_LT(count, 1000);
    PackedKVCache cache = make_cache(setup);
    cache.append(start);
    const std::unique_ptr<KVCache> clone = cache.clone();  // the last page is shared, so that it must be copied
    try {
      const FailingMemory failing(count);
      cache.append(more);
      failed = failing.failed();
      ASSERT_FALSE(failed) << "an allocation failed unnoticed";
    } catch (const std::bad_alloc&) {
    }
    if (failed) {
      EXPECT_EQ(bytes_of(cache), bytes) << count;
      cache.append(more);
    }
    EXPECT_EQ(bytes_of(cache), bytes_of(expected)) << count;
  }
  EXPECT_EQ(held_bytes(), held);
}

}  // namespace
}  // namespace veloxquant
