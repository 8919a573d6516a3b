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

// Address space of `bytes` bytes, whole pages of the system, which holds no memory until it is used; throws
// std::bad_alloc. From its begin, [0, from) in use becomes [0, to): use_memory() for to > from, where the memory
// is zero or whatever leave_memory() left; leave_memory() for to < from gives memory back to the system. All are
// whole pages of the system.
std::byte* reserve_memory(std::size_t bytes);
void use_memory(std::byte* memory, std::size_t from, std::size_t to) noexcept;
void leave_memory(std::byte* memory, std::size_t from, std::size_t to) noexcept;
void return_memory(std::byte* memory, std::size_t bytes) noexcept;

// Bytes taken or used, and not given back yet.
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

// Room for `size` elements grows in steps of an eighth, so that little lies idle. It follows from the size alone,
// not from the steps in which it was reached.
constexpr std::size_t room_for(std::size_t size) noexcept {
  std::size_t room = 0;
  while (room < size) room += room / 8 + 4;
  return room;
}

template <class T>
void make_room(HeldVector<T>& vector, std::size_t size) {
  if (size > vector.capacity()) vector.reserve(room_for(size));
}

}  // namespace veloxquant
