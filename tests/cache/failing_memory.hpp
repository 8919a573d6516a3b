// Makes the library's aligned allocations fail on demand (memory_test.cpp replaces the operators for this program).
#pragma once

namespace veloxquant::testing {

// The allocation after `count` more fails with std::bad_alloc, once, as long as the object lives.
class FailingMemory {
 public:
  explicit FailingMemory(int count) noexcept;
  ~FailingMemory();
  FailingMemory(const FailingMemory&) = delete;
  FailingMemory& operator=(const FailingMemory&) = delete;
  // Whether the failure has taken place.
  bool failed() const noexcept;
};

}  // namespace veloxquant::testing
