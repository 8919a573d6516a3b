#include <veloxquant/core/thread_pool.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>
#include <veloxquant/core/error.hpp>

namespace veloxquant {
namespace {

constexpr int kMaxThreads = 1024;
// Pauses before a waiting thread goes to sleep: some tens of microseconds, which bridges the gap between the
// loops of one decoding step.
constexpr int kSpins = 1000;

// The worker number of this thread while it runs an item, else -1.
thread_local int running_as = -1;

void pause_cpu() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

template <class Condition>
void spin_until(Condition condition) {
  for (int i = 0; i < kSpins && !condition(); ++i) pause_cpu();
}

// One parallel_for: items are claimed one by one, and the error of the lowest item is kept, so that which
// error is reported does not depend on the number of threads either.
struct Loop {
  std::size_t items;
  const std::function<void(std::size_t, int)>& body;
  std::atomic<std::size_t> next{0};
  std::mutex error_mutex{};
  std::size_t error_item = std::numeric_limits<std::size_t>::max();
  std::exception_ptr error{};

  void run(int worker) {
    const int before = std::exchange(running_as, worker);
    for (std::size_t item; (item = next.fetch_add(1, std::memory_order_relaxed)) < items;) {
      try {
        body(item, worker);
      } catch (...) {
        const std::lock_guard lock(error_mutex);
        if (item < error_item) {
          error_item = item;
          error = std::current_exception();
        }
      }
    }
    running_as = before;
  }
};

int processors() { return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMaxThreads); }

}  // namespace

struct ThreadPool::State {
  std::vector<std::thread> workers;
  std::mutex one_loop;  // held by the caller of parallel_for

  std::mutex mutex;  // guards `loop`, `inside` and `stop`
  std::condition_variable opened, left;
  Loop* loop = nullptr;              // null: no loop that could be joined
  std::atomic<int> inside{0};        // workers in the loop, without the caller
  std::atomic<std::size_t> turn{0};  // counts loops and the stop
  bool stop = false;

  void work(int worker) {
    for (std::size_t seen = 0;;) {
      spin_until([&] { return turn.load(std::memory_order_relaxed) != seen; });
      std::unique_lock lock(mutex);
      opened.wait(lock, [&] { return turn.load(std::memory_order_relaxed) != seen; });
      if (stop) return;
      seen = turn.load(std::memory_order_relaxed);
      Loop* joined = loop;
      if (joined == nullptr) continue;  // came too late: the loop has ended without this worker
      inside.fetch_add(1, std::memory_order_relaxed);
      lock.unlock();
      joined->run(worker);
      lock.lock();
      if (inside.fetch_sub(1, std::memory_order_release) == 1) left.notify_one();
    }
  }

  void run(Loop& shared) {
    const std::lock_guard one(one_loop);
    {
      const std::lock_guard lock(mutex);
      loop = &shared;
      turn.fetch_add(1, std::memory_order_relaxed);
    }
    opened.notify_all();
    shared.run(0);
    std::unique_lock lock(mutex);
    loop = nullptr;
    lock.unlock();
    spin_until([&] { return inside.load(std::memory_order_acquire) == 0; });
    lock.lock();
    left.wait(lock, [&] { return inside.load(std::memory_order_relaxed) == 0; });
  }

  void finish() noexcept {
    {
      const std::lock_guard lock(mutex);
      stop = true;
      turn.fetch_add(1, std::memory_order_relaxed);
    }
    opened.notify_all();
    for (std::thread& worker : workers) worker.join();
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  if (threads < 0 || threads > kMaxThreads) {
    throw ConfigError("threads",
                      fmt::format("{} threads; from 1 to {}, or 0 for all processors", threads, kMaxThreads));
  }
  const int count = threads == 0 ? processors() : threads;
  try {
    for (int worker = 1; worker < count; ++worker) {
      state_->workers.emplace_back([state = state_.get(), worker] { state->work(worker); });
    }
  } catch (...) {
    state_->finish();
    throw;
  }
}

ThreadPool::~ThreadPool() { state_->finish(); }

int ThreadPool::threads() const noexcept { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::parallel_for(std::size_t items, const std::function<void(std::size_t, int)>& body) {
  if (items == 0) return;
  Loop loop{.items = items, .body = body};
  if (running_as >= 0) {
    loop.run(std::min(running_as, threads() - 1));
  } else if (items == 1 || state_->workers.empty()) {
    loop.run(0);
  } else {
    state_->run(loop);
  }
  if (loop.error) std::rethrow_exception(loop.error);
}

namespace {

struct DefaultPool {
  std::mutex mutex;
  std::shared_ptr<ThreadPool> pool;
};

DefaultPool& default_pool() {
  static DefaultPool shared{.mutex = {}, .pool = std::make_shared<ThreadPool>(1)};
  return shared;
}

}  // namespace

std::shared_ptr<ThreadPool> default_thread_pool() {
  DefaultPool& shared = default_pool();
  const std::lock_guard lock(shared.mutex);
  return shared.pool;
}

void set_default_threads(int threads) {
  auto pool = std::make_shared<ThreadPool>(threads);
  DefaultPool& shared = default_pool();
  const std::lock_guard lock(shared.mutex);
  shared.pool.swap(pool);
}

}  // namespace veloxquant
