#include "cache/page_pool.hpp"

#include <sys/mman.h>

#include <atomic>

#include "pack/block_layout.hpp"

namespace veloxquant {
namespace {

constexpr std::align_val_t kAlignment{kPageAlignment};

std::atomic<std::size_t> held{0};

// Whole pages of the system come from it directly: malloc would put a page with its own notes before them.
bool whole_pages(std::size_t bytes) noexcept { return bytes > 0 && bytes % kSystemPage == 0; }

std::byte* map_pages(std::size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return static_cast<std::byte*>(memory);
}

}  // namespace

std::byte* take_memory(std::size_t bytes) {
  auto* memory =
      whole_pages(bytes) ? map_pages(bytes) : static_cast<std::byte*>(::operator new(bytes, kAlignment));
  held.fetch_add(bytes, std::memory_order_relaxed);
  return memory;
}

void give_memory(std::byte* memory, std::size_t bytes) noexcept {
  if (whole_pages(bytes)) {
    ::munmap(memory, bytes);
  } else {
    ::operator delete(memory, kAlignment);
  }
  held.fetch_sub(bytes, std::memory_order_relaxed);
}

std::size_t held_bytes() noexcept { return held.load(std::memory_order_relaxed); }

}  // namespace veloxquant
