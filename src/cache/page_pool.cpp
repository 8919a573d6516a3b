#include "cache/page_pool.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "pack/block_layout.hpp"

namespace veloxquant {
namespace {

constexpr std::align_val_t kAlignment{kPageAlignment};

std::atomic<std::size_t> held{0};

constexpr std::size_t kHugePage = std::size_t{2} << 20;
// Advice of Linux 5.14 and 6.1, which older C libraries do not name.
constexpr int kPopulateWrite = 23, kCollapse = 25;

std::byte* map_pages(std::size_t bytes) {
  void* memory =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return static_cast<std::byte*>(memory);
}

// A layer may have no codes at all, and still has pages.
std::size_t mapped(std::size_t bytes) { return std::max(bytes, kSystemPage); }

}  // namespace

std::byte* take_memory(std::size_t bytes) {
  auto* memory = static_cast<std::byte*>(::operator new(bytes, kAlignment));
  held.fetch_add(bytes, std::memory_order_relaxed);
  return memory;
}

void give_memory(std::byte* memory, std::size_t bytes) noexcept {
  ::operator delete(memory, kAlignment);
  held.fetch_sub(bytes, std::memory_order_relaxed);
}

std::byte* reserve_memory(std::size_t bytes) {
  bytes = mapped(bytes);
  if (bytes < kHugePage) return map_pages(bytes);
  // Huge pages want to begin at a multiple of their size.
  std::byte* memory = map_pages(bytes + kHugePage);
  const std::size_t before = kHugePage - reinterpret_cast<std::uintptr_t>(memory) % kHugePage;
  ::munmap(memory, before);
  if (before < kHugePage) ::munmap(memory + before + bytes, kHugePage - before);
  return memory + before;
}

void use_memory(std::byte* memory, std::size_t from, std::size_t to) noexcept {
  held.fetch_add(to - from, std::memory_order_relaxed);
  // In one call, not one fault after the other.
  ::madvise(memory + from, to - from, kPopulateWrite);
  // Only memory that counts as held already, so that no more is held than is counted. A system that has no huge
  // page to give refuses, and everything stays as it is.
  for (std::size_t end = (from / kHugePage + 1) * kHugePage; end <= to; end += kHugePage)
    ::madvise(memory + end - kHugePage, kHugePage, kCollapse);
}

void leave_memory(std::byte* memory, std::size_t from, std::size_t to) noexcept {
  if (from < to) ::madvise(memory + from, to - from, MADV_DONTNEED);
  held.fetch_sub(to - from, std::memory_order_relaxed);
}

void return_memory(std::byte* memory, std::size_t bytes) noexcept { ::munmap(memory, mapped(bytes)); }

std::size_t held_bytes() noexcept { return held.load(std::memory_order_relaxed); }

}  // namespace veloxquant
