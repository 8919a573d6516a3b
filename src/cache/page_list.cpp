#include "cache/page_list.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <utility>

#include "pack/block_layout.hpp"

namespace veloxquant {
namespace {

using Count = std::uint32_t;

constexpr Count kLocked = ~Count{0};  // in place of a count: the page is being given back to the system

// The first page after `index` at which a piece begins.
std::size_t next_piece(std::size_t index) noexcept { return index == 0 ? 1 : 2 * std::bit_floor(index); }

}  // namespace

// The counts of references follow.
struct PageList::Piece {
  std::byte* memory;
  std::uint64_t first;  // page of the row
  Count pages;
  Count live;  // pages that are in a list
  Count used;  // pages from the begin on that are held; those behind are address space only

  static std::size_t nbytes(Count pages) noexcept { return sizeof(Piece) + pages * sizeof(Count); }
  Count* counts() noexcept { return reinterpret_cast<Count*>(this + 1); }
};

std::atomic_ref<std::uint32_t> PageList::references(const Slot& slot) noexcept {
  return std::atomic_ref<Count>(slot.piece->counts()[slot.index]);
}

std::size_t PageList::piece_bytes(std::size_t pages) const noexcept {
  return (pages * blocks_bytes_ + kSystemPage - 1) / kSystemPage * kSystemPage;
}

std::size_t PageList::nbytes_of(std::size_t pages, std::size_t blocks_bytes) noexcept {
  const PageList list(blocks_bytes);
  std::size_t bytes = room_for(pages) * (sizeof(std::uint8_t*) + sizeof(Slot));
  for (std::size_t first = 0, end = 0; first < pages; first = end) {
    end = next_piece(first);
    bytes += list.piece_bytes(std::min(pages, end) - first) + Piece::nbytes(static_cast<Count>(end - first));
  }
  return bytes;
}

PageList::PageList(const PageList& other) : blocks_bytes_(other.blocks_bytes_) {
  reserve(other.pages_.size());
  pages_ = other.pages_;
  slots_ = other.slots_;
  for (const Slot& slot : slots_) references(slot).fetch_add(1, std::memory_order_relaxed);
}

PageList& PageList::operator=(PageList&& other) noexcept {
  std::swap(blocks_bytes_, other.blocks_bytes_);
  pages_.swap(other.pages_);
  slots_.swap(other.slots_);
  return *this;
}

bool PageList::shared(std::size_t index) const noexcept {
  return references(slots_[index]).load(std::memory_order_acquire) > 1;
}

std::size_t PageList::nbytes() const noexcept {
  std::size_t bytes = held_by(pages_) + held_by(slots_);
  const Piece* last = nullptr;  // the pages of a piece stand together
  for (const Slot& slot : slots_) {
    if (slot.piece != last) {
      const Count used = std::atomic_ref<Count>(slot.piece->used).load(std::memory_order_relaxed);
      bytes += piece_bytes(used) + Piece::nbytes(slot.piece->pages);
    }
    last = slot.piece;
  }
  return bytes;
}

PageList::Slot PageList::new_piece(std::size_t first, std::size_t pages) {
  const auto count = static_cast<Count>(pages);
  std::byte* notes = take_memory(Piece::nbytes(count));
  std::byte* memory = nullptr;
  try {
    memory = reserve_memory(piece_bytes(count));
  } catch (...) {
    give_memory(notes, Piece::nbytes(count));
    throw;
  }
  auto* piece = ::new (notes) Piece{memory, first, count, 1, 0};
  std::memset(piece->counts(), 0, pages * sizeof(Count));
  piece->counts()[0] = 1;
  return {piece, 0};
}

void PageList::use_pages(Piece& piece, std::uint32_t pages) noexcept {
  const std::atomic_ref<Count> used(piece.used);
  Count before = used.load(std::memory_order_relaxed);
  while (before < pages) {
    if (used.compare_exchange_weak(before, pages)) {
      use_memory(piece.memory, piece_bytes(before), piece_bytes(pages));
      return;
    }
  }
}

// Gives the last pages of a piece back to the system when no list has them. Nobody takes them meanwhile: their
// counts are locked.
void PageList::shrink(Piece& piece) noexcept {
  const std::atomic_ref<Count> used(piece.used);
  const Count before = used.load(std::memory_order_relaxed);
  Count pages = before, expected = before;
  const auto count = [&](Count page) { return std::atomic_ref<Count>(piece.counts()[page]); };
  for (Count none = 0; pages > 0 && count(pages - 1).compare_exchange_strong(none, kLocked); none = 0)
    --pages;
  if (pages < before && used.compare_exchange_strong(expected, pages)) {
    leave_memory(piece.memory, piece_bytes(pages), piece_bytes(before));
  }
  for (Count page = pages; page < before; ++page) count(page).store(0, std::memory_order_release);
}

std::uint8_t* PageList::add_for(const PageList& row, std::size_t index, const std::uint8_t* copied) {
  reserve(pages_.size() + 1);
  // The piece of the page before it, if this page's place in it is free: a copy of the list may have taken
  // it.
  Piece* before = !slots_.empty()                    ? slots_.back().piece
                  : index > 0 && index <= row.size() ? row.slots_[index - 1].piece
                                                     : nullptr;
  Slot slot{before, before == nullptr ? 0 : static_cast<Count>(index - before->first)};
  Count unused = 0;
  if (copied != nullptr) {
    slot = new_piece(index, 1);
  } else if (before != nullptr && slot.index < before->pages &&
             references(slot).compare_exchange_strong(unused, 1)) {
    std::atomic_ref<Count>(before->live).fetch_add(1, std::memory_order_relaxed);
  } else {
    slot = new_piece(index, next_piece(index) - index);
  }
  use_pages(*slot.piece, slot.index + 1);
  auto* page = reinterpret_cast<std::uint8_t*>(slot.piece->memory) + slot.index * blocks_bytes_;
  if (copied != nullptr) {
    std::memcpy(page, copied, blocks_bytes_);
  } else {
    std::memset(page, 0, blocks_bytes_);
  }
  pages_.push_back(page);
  slots_.push_back(slot);
  return page;
}

void PageList::adopt(PageList& other, std::size_t index) noexcept {
  pages_.push_back(std::exchange(other.pages_[index], nullptr));
  slots_.push_back(other.slots_[index]);
}

void PageList::exchange(std::size_t index, PageList& other, std::size_t other_index) noexcept {
  std::swap(pages_[index], other.pages_[other_index]);
  std::swap(slots_[index], other.slots_[other_index]);
}

void PageList::truncate(std::size_t size) noexcept {
  while (pages_.size() > size) {
    if (pages_.back() != nullptr) release(slots_.back());
    pages_.pop_back();
    slots_.pop_back();
  }
}

void PageList::release(const Slot& slot) noexcept {
  if (references(slot).fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  Piece* piece = slot.piece;  // exists while the page counts as live
  if (slot.index + 1 == std::atomic_ref<Count>(piece->used).load(std::memory_order_relaxed)) shrink(*piece);
  if (std::atomic_ref<Count>(piece->live).fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  leave_memory(piece->memory, 0, piece_bytes(piece->used));
  return_memory(piece->memory, piece_bytes(piece->pages));
  give_memory(reinterpret_cast<std::byte*>(piece), Piece::nbytes(piece->pages));
}

}  // namespace veloxquant
