// ThreadPool: runs the items of a loop on several threads.
//
// Results never depend on the number of threads: items are independent and whoever merges them does so in item
// order. One loop runs at a time; parallel_for from inside an item runs serially on that thread.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace veloxquant {

class ThreadPool {
 public:
  // `threads` counts the calling thread; 0 means as many as there are processors to run on.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const noexcept;
  // Calls body(item, worker) for every item in [0, items), worker in [0, threads()). An exception from an item
  // is rethrown here after the loop has ended.
  void parallel_for(std::size_t items, const std::function<void(std::size_t item, int worker)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The pool that caches use unless they are given another: one thread until set_default_threads() says more.
std::shared_ptr<ThreadPool> default_thread_pool();
// 0: all processors. Caches made before keep the pool they have.
void set_default_threads(int threads);

}  // namespace veloxquant
