// Every allocation of an append fails once.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

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

}  // namespace

#if VELOXQUANT_REPLACE_NEW
namespace {

void* allocate(std::size_t size, std::size_t alignment) {
  if (allocations_left.load() >= 0 && allocations_left.fetch_sub(1) == 0) throw std::bad_alloc();
  void* memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
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

}  // namespace
}  // namespace veloxquant
