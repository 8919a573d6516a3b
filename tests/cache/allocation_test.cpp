// What is allocated: every allocation of an append fails once, and attention holds nothing of the history's length.

#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <thread>

#include "cache/page_pool.hpp"
#include "fixtures.hpp"

#if defined(__SANITIZE_THREAD__)
#define VELOXQUANT_REPLACE_NEW 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define VELOXQUANT_REPLACE_NEW 0
#endif
#endif
#ifndef VELOXQUANT_REPLACE_NEW
#define VELOXQUANT_REPLACE_NEW 1
#endif

namespace {

constexpr bool kReplaced = VELOXQUANT_REPLACE_NEW;
std::atomic<int> allocations_left{-1};  // below zero: no failure is asked for
std::atomic<std::size_t> live{0}, most_live{0};

}  // namespace

#if VELOXQUANT_REPLACE_NEW
namespace {

void* allocate(std::size_t size, std::size_t alignment) {
  if (allocations_left.load() >= 0 && allocations_left.fetch_sub(1) == 0) throw std::bad_alloc();
  void* memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  const std::size_t now = live.fetch_add(malloc_usable_size(memory)) + malloc_usable_size(memory);
  for (std::size_t most = most_live; most < now && !most_live.compare_exchange_weak(most, now);) {
  }
  return memory;
}

void give_back(void* memory) noexcept {
  live.fetch_sub(malloc_usable_size(memory));
  std::free(memory);
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { give_back(memory); }
void operator delete(void* memory, std::size_t) noexcept { give_back(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { give_back(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { give_back(memory); }
#endif

namespace veloxquant {
namespace {

using namespace veloxquant::testing;

// The allocation after `count` more fails with std::bad_alloc, once, as long as the object lives.
class FailingMemory {
 public:
  explicit FailingMemory(int count) noexcept { allocations_left = count; }
  ~FailingMemory() { allocations_left = -1; }
  FailingMemory(const FailingMemory&) = delete;
  FailingMemory& operator=(const FailingMemory&) = delete;
  bool failed() const noexcept { return allocations_left < 0; }
};

TEST(FailingMemory, LeavesTheCacheAsItWas) {
  if (!kReplaced) GTEST_SKIP() << "the thread sanitizer has allocation functions of its own";
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
    const std::unique_ptr<KVCache> clone =
        cache.clone();  // the last page is shared, so that it must be copied
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

// Bytes allocated beyond the cache while it attends for the first time, in threads that have no scratch memory yet.
std::size_t growth_in_attention(const CacheSetup& setup, std::int64_t tokens, const Tensor& queries) {
  std::size_t growth = 0;
  std::thread([&] {
    PackedKVCache cache = make_cache(setup);
    const Tensor piece = random_vectors({1, 2, 4096, 64}, 1);
    for (std::int64_t done = 0; done < tokens; done += 4096) cache.append(piece);
    const std::size_t before = live;
    most_live = before;
    cache.attend(queries, 0.125f, {});
    growth = most_live - before;
  }).join();
  return growth;
}

TEST(AttentionMemory, DoesNotGrowWithTheHistory) {
  if (!kReplaced) GTEST_SKIP() << "the thread sanitizer has allocation functions of its own";
  for (const char* method : {"turboquant_mse:4", "trellis:2", "affine:4", "fp16"}) {
    for (const std::int64_t fresh : {1, 64}) {
      const CacheSetup setup{.keys = method, .values = method, .sinks = 4};
      const Tensor queries = random_vectors({1, 8, fresh, 64}, 3);
      const std::size_t some = growth_in_attention(setup, 1 << 16, queries),
                        more = growth_in_attention(setup, 1 << 17, queries);
      EXPECT_LE(more, some + 4096) << method << ", " << fresh << " new tokens";
      EXPECT_LT(more, std::size_t{4} << 20) << method;  // the history decoded would be 134 MB
    }
  }
}

}  // namespace
}  // namespace veloxquant
