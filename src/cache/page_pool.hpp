// Where caches get their memory from: every byte that a cache holds is taken and given back here and counted.
//
// PackedKVCache::nbytes() adds up what one cache holds; held_bytes() is what all caches of the process hold.
// Tests compare the two, which is the promise "bytes reported = bytes held".
#pragma once

#include <cstddef>
#include <limits>
#include <new>
#include <vector>

namespace veloxquant {

// Of the system's memory; larger ones are multiples of it.
inline constexpr std::size_t kSystemPage = 4096;

// 64-byte-aligned memory of exactly `bytes` bytes; throws std::bad_alloc.
std::byte* take_memory(std::size_t bytes);
void give_memory(std::byte* memory, std::size_t bytes) noexcept;
// Bytes taken and not given back yet.
std::size_t held_bytes() noexcept;

template <class T>
struct HeldAllocator {
  using value_type = T;
  HeldAllocator() = default;
  template <class U>
  HeldAllocator(const HeldAllocator<U>&) noexcept {}

  T* allocate(std::size_t count) {
    if (count > std::numeric_limits<std::size_t>::max() / sizeof(T)) throw std::bad_array_new_length();
    return reinterpret_cast<T*>(take_memory(count * sizeof(T)));
  }
  void deallocate(T* memory, std::size_t count) noexcept {
    give_memory(reinterpret_cast<std::byte*>(memory), count * sizeof(T));
  }
  bool operator==(const HeldAllocator&) const = default;
};

template <class T>
using HeldVector = std::vector<T, HeldAllocator<T>>;

template <class T>
std::size_t held_by(const HeldVector<T>& vector) noexcept {
  return vector.capacity() * sizeof(T);
}

// Makes room for `size` elements in steps of an eighth, so that little lies idle. The capacity follows from
// the size alone, not from the steps in which it was reached.
template <class T>
void make_room(HeldVector<T>& vector, std::size_t size) {
  if (size <= vector.capacity()) return;
  std::size_t room = 0;
  while (room < size) room += room / 8 + 4;
  vector.reserve(room);
}

}  // namespace veloxquant
