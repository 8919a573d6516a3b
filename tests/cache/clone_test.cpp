#include <gtest/gtest.h>

#include <thread>

#include "cache/page_pool.hpp"
#include "fixtures.hpp"

namespace veloxquant {
namespace {

using namespace veloxquant::testing;

const CacheSetup kSetup{.batch = 2, .sinks = 2, .recent = 5};

std::unique_ptr<PackedKVCache> clone_of(const PackedKVCache& cache) {
  return std::unique_ptr<PackedKVCache>(static_cast<PackedKVCache*>(cache.clone().release()));
}

TEST(Clone, SharesPagesUntilEitherSideWrites) {
  PackedKVCache cache = make_cache(kSetup);
  cache.append(random_vectors({2, 2, 1000, 64}, 1));
  const std::size_t before = held_bytes();
  const auto clone = clone_of(cache);
  EXPECT_LE(clone->nbytes(), cache.nbytes());
  EXPECT_LT(held_bytes() - before, cache.nbytes() / 10);
  EXPECT_EQ(bytes_of(*clone), bytes_of(cache));
}

TEST(Clone, WritesStayOnTheirSide) {
  for (const std::int64_t size : {0, 1, 30, 66, 100, 130}) {
    const Tensor start = random_vectors({2, 2, size, 64}, 1);
    const Tensor left = random_vectors({2, 2, 90, 64}, 2), right = random_vectors({2, 2, 90, 64}, 3);
    PackedKVCache cache = make_cache(kSetup);
    cache.append(start);
    auto clone = clone_of(cache);
    const std::string bytes = bytes_of(cache);
    clone->append(right);
    EXPECT_EQ(bytes_of(cache), bytes);
    cache.append(left);
    for (const auto& [have, more] : {std::pair{&cache, left}, std::pair{clone.get(), right}}) {
      PackedKVCache alone = make_cache(kSetup);
      alone.append(start);
      alone.append(more);
      EXPECT_EQ(bytes_of(*have), bytes_of(alone)) << size;
    }
    cache.trim(std::min<std::int64_t>(size, 40) + 90);
    EXPECT_EQ(clone->size(), size + 90);
    PackedKVCache kept = std::move(cache);
    EXPECT_EQ(kept.size(), size - std::min<std::int64_t>(size, 40));
  }
}

// A clone is a whole cache, also for those who know the abstraction only.
TEST(Clone, AttendsSavesAndLoads) {
  const TemporaryFile file;
  PackedKVCache cache = make_cache(kSetup);
  cache.append(random_vectors({2, 2, 100, 64}, 1));
  const std::unique_ptr<KVCache> clone = cache.clone();
  const Tensor queries = random_vectors({2, 4, 1, 64}, 2);
  EXPECT_TRUE(same_floats(clone->attend(queries), cache.attend(queries)));
  clone->append(random_vectors({2, 2, 30, 64}, 3));
  clone->save(file.path());
  cache.load(file.path());
  EXPECT_EQ(cache.size(), 130);
  EXPECT_TRUE(same_floats(clone->attend(queries), cache.attend(queries)));
}

TEST(Clone, ManyBranchesOfOnePrefix) {
  const std::size_t before = held_bytes();
  {
    PackedKVCache trunk = make_cache(kSetup);
    trunk.append(random_vectors({2, 2, 100, 64}, 1));
    const std::string bytes = bytes_of(trunk);
    std::vector<std::unique_ptr<PackedKVCache>> branches;
    std::vector<std::string> contents;
    for (unsigned i = 0; i < 5; ++i) {
      branches.push_back(clone_of(i == 0 ? trunk : *branches.back()));
      branches.back()->append(random_vectors({2, 2, 3, 64}, 10 + i));
      contents.push_back(bytes_of(*branches.back()));
    }
    for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(bytes_of(*branches[i]), contents[i]);
    EXPECT_EQ(bytes_of(trunk), bytes);
  }
  EXPECT_EQ(held_bytes(), before);
}

TEST(Clone, IsIndependentAlsoAcrossThreads) {
  PackedKVCache cache = make_cache(kSetup, std::make_shared<ThreadPool>(2));
  cache.append(random_vectors({2, 2, 100, 64}, 1));
  const Tensor queries = random_vectors({2, 4, 1, 64}, 2);
  const Tensor want = cache.attend(queries);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (unsigned round = 0; round < 10; ++round) {
        const auto clone = clone_of(cache);
        clone->append(random_vectors({2, 2, 40, 64}, 10 * i + round));
        EXPECT_TRUE(same_floats(cache.attend(queries), want));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Trim, GoesBackToWhatWasThere) {
  const Tensor x = random_vectors({2, 2, 300, 64}, 1);
  for (const std::int64_t keep : {0, 1, 2, 65, 66, 67, 130, 299}) {
    PackedKVCache cache = make_cache({.batch = 2, .sinks = 2});
    cache.append(x);
    cache.trim(300 - keep);
    PackedKVCache shorter = make_cache({.batch = 2, .sinks = 2});
    shorter.append(x.slice(2, 0, keep));
    EXPECT_EQ(bytes_of(cache), bytes_of(shorter)) << keep;
    cache.append(x.slice(2, keep, 300));
    shorter.append(x.slice(2, keep, 300));
    EXPECT_EQ(bytes_of(cache), bytes_of(shorter)) << keep;
  }
}

TEST(Trim, TokensThatLeftTheWindowStayCoded) {
  const Tensor x = random_vectors({1, 2, 100, 64}, 1);
  PackedKVCache cache = make_cache({.sinks = 2, .recent = 10});
  cache.append(x);
  EXPECT_EQ(cache.coded_tokens(), 88);
  cache.trim(15);
  EXPECT_EQ(cache.coded_tokens(), 83);
  cache.append(x.slice(2, 0, 4));
  EXPECT_EQ(cache.coded_tokens(), 83);
  EXPECT_TRUE(same_floats(cache.state().first.slice(2, 85, 89), x.slice(2, 0, 4)));
  cache.append(x.slice(2, 0, 7));
  EXPECT_EQ(cache.coded_tokens(), 84);
  cache.trim(95);
  EXPECT_EQ(cache.coded_tokens(), 0);
  EXPECT_TRUE(same_floats(cache.state().first, x.slice(2, 0, 1)));
}

}  // namespace
}  // namespace veloxquant
