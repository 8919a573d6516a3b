#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>
#include <veloxquant/core/error.hpp>
#include <veloxquant/core/thread_pool.hpp>

namespace veloxquant {
namespace {

TEST(ThreadPool, RunsEveryItemOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const std::size_t items : {0u, 1u, 2u, 7u, 1000u}) {
      std::vector<std::atomic<int>> runs(items);
      pool.parallel_for(items, [&](std::size_t item, int worker) {
        EXPECT_GE(worker, 0);
        EXPECT_LT(worker, threads);
        ++runs[item];
      });
      for (const auto& count : runs) EXPECT_EQ(count, 1);
    }
  }
}

TEST(ThreadPool, WorkersAreNeverTwoAtATime) {
  ThreadPool pool(4);
  for (int loop = 0; loop < 200; ++loop) {
    std::vector<std::atomic<int>> inside(4);
    pool.parallel_for(40, [&](std::size_t, int worker) {
      EXPECT_EQ(inside[static_cast<std::size_t>(worker)].fetch_add(1), 0);
      inside[static_cast<std::size_t>(worker)].fetch_sub(1);
    });
  }
}

TEST(ThreadPool, LoopsInsideItemsRunOnTheSameWorker) {
  ThreadPool pool(4);
  std::atomic<int> total = 0;
  pool.parallel_for(16, [&](std::size_t, int worker) {
    const auto thread = std::this_thread::get_id();
    pool.parallel_for(8, [&](std::size_t, int inner) {
      EXPECT_EQ(inner, worker);
      EXPECT_EQ(std::this_thread::get_id(), thread);
      ++total;
    });
  });
  EXPECT_EQ(total, 128);
}

TEST(ThreadPool, ReportsTheErrorOfTheLowestItem) {
  for (const int threads : {1, 4}) {
    ThreadPool pool(threads);
    for (int loop = 0; loop < 50; ++loop) {
      try {
        pool.parallel_for(100, [](std::size_t item, int) {
          if (item % 10 == 3) throw std::runtime_error(std::to_string(item));
        });
        FAIL();
      } catch (const std::runtime_error& e) {
        EXPECT_STREQ(e.what(), "3");
      }
    }
    std::atomic<int> total = 0;
    pool.parallel_for(10, [&](std::size_t, int) { ++total; });
    EXPECT_EQ(total, 10);
  }
}

TEST(ThreadPool, ServesSeveralCallers) {
  ThreadPool pool(3);
  std::atomic<int> total = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      for (int loop = 0; loop < 100; ++loop) pool.parallel_for(10, [&](std::size_t, int) { ++total; });
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(total, 4000);
}

TEST(ThreadPool, DefaultHasOneThreadUntilAskedForMore) {
  EXPECT_EQ(default_thread_pool()->threads(), 1);
  const auto before = default_thread_pool();
  set_default_threads(3);
  EXPECT_EQ(default_thread_pool()->threads(), 3);
  EXPECT_EQ(before->threads(), 1);
  set_default_threads(0);
  EXPECT_GE(default_thread_pool()->threads(), 1);
  set_default_threads(1);
}

TEST(ThreadPool, RefusesSenselessCounts) {
  EXPECT_THROW(ThreadPool(-1), ConfigError);
  EXPECT_THROW(ThreadPool(100000), ConfigError);
  EXPECT_THROW(set_default_threads(-2), ConfigError);
}

}  // namespace
}  // namespace veloxquant
