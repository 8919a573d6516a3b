// How fast this machine reads memory from one end to the other: the limit of decode attention, which reads
// every byte of a cache once.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <veloxquant/core/thread_pool.hpp>

namespace veloxquant::bench {

// Holds a block of memory far larger than the CPU's caches, in huge pages where the system grants them.
class StreamMeter {
 public:
  explicit StreamMeter(std::size_t bytes);
  ~StreamMeter();
  StreamMeter(const StreamMeter&) = delete;
  StreamMeter& operator=(const StreamMeter&) = delete;

  // Sums the whole block once, an equal part on every thread of the pool: bytes per second.
  double read(ThreadPool& pool);

 private:
  std::size_t bytes_, mapped_;
  void* mapping_;
  const unsigned char* data_;
  std::atomic<std::uint64_t> sum_{0};  // kept so that no compiler leaves the reading out
};

}  // namespace veloxquant::bench
