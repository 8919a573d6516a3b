#include "cache/page_pool.hpp"

#include <atomic>

#include "pack/block_layout.hpp"

namespace veloxquant {
namespace {

constexpr std::align_val_t kAlignment{kPageAlignment};

std::atomic<std::size_t> held{0};

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

std::size_t held_bytes() noexcept { return held.load(std::memory_order_relaxed); }

}  // namespace veloxquant
