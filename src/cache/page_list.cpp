#include "cache/page_list.hpp"

#include <atomic>
#include <cstring>
#include <utility>

#include "pack/block_layout.hpp"

namespace veloxquant {
namespace {

using Count = std::uint32_t;

// The reference count behind the blocks: they are multiples of 64 bytes, so it is aligned.
std::atomic_ref<Count> references(std::uint8_t* page, std::size_t blocks_bytes) noexcept {
  return std::atomic_ref<Count>(*reinterpret_cast<Count*>(page + blocks_bytes));
}

}  // namespace

PageList::PageList(const PageList& other) : blocks_bytes_(other.blocks_bytes_) {
  make_room(pages_, other.pages_.size());
  pages_ = other.pages_;
  for (std::uint8_t* page : pages_) references(page, blocks_bytes_).fetch_add(1, std::memory_order_relaxed);
}

PageList& PageList::operator=(PageList&& other) noexcept {
  std::swap(blocks_bytes_, other.blocks_bytes_);
  pages_.swap(other.pages_);
  return *this;
}

bool PageList::shared(std::size_t index) const noexcept {
  return references(pages_[index], blocks_bytes_).load(std::memory_order_acquire) > 1;
}

std::size_t PageList::nbytes() const noexcept {
  return pages_.size() * (blocks_bytes_ + sizeof(Count)) + held_by(pages_);
}

std::uint8_t* PageList::add(const std::uint8_t* copied) {
  reserve(pages_.size() + 1);
  auto* page = reinterpret_cast<std::uint8_t*>(take_memory(blocks_bytes_ + sizeof(Count)));
  if (copied != nullptr) {
    std::memcpy(page, copied, blocks_bytes_);
  } else {
    std::memset(page, 0, blocks_bytes_);
  }
  ::new (page + blocks_bytes_) Count{1};
  pages_.push_back(page);
  return page;
}

void PageList::adopt(PageList& other, std::size_t index) noexcept {
  pages_.push_back(std::exchange(other.pages_[index], nullptr));
}

void PageList::exchange(std::size_t index, PageList& other, std::size_t other_index) noexcept {
  std::swap(pages_[index], other.pages_[other_index]);
}

void PageList::truncate(std::size_t size) noexcept {
  while (pages_.size() > size) {
    if (pages_.back() != nullptr) release(pages_.back());
    pages_.pop_back();
  }
}

void PageList::release(std::uint8_t* page) noexcept {
  if (references(page, blocks_bytes_).fetch_sub(1, std::memory_order_acq_rel) == 1) {
    give_memory(reinterpret_cast<std::byte*>(page), blocks_bytes_ + sizeof(Count));
  }
}

}  // namespace veloxquant
