#include "cache/page_list.hpp"

#include <bit>
#include <cstring>
#include <new>
#include <utility>

#include "pack/block_layout.hpp"

namespace veloxquant {
namespace {

using Count = std::uint32_t;

constexpr std::size_t kPiecePages = 16;  // of a long row

// The first page after `index` at which a piece begins.
std::size_t next_piece(std::size_t index) noexcept {
  if (index < kPiecePages) return index == 0 ? 1 : 2 * std::bit_floor(index);
  return (index / kPiecePages + 1) * kPiecePages;
}

}  // namespace

// The counts of references follow.
struct PageList::Piece {
  std::byte* memory;
  std::uint64_t first;  // page of the row
  Count pages;
  Count live;  // pages that are in a list

  static std::size_t nbytes(Count pages) noexcept { return sizeof(Piece) + pages * sizeof(Count); }
  Count* counts() noexcept { return reinterpret_cast<Count*>(this + 1); }
};

std::atomic_ref<std::uint32_t> PageList::references(const Slot& slot) noexcept {
  return std::atomic_ref<Count>(slot.piece->counts()[slot.index]);
}

std::size_t PageList::piece_bytes(std::uint32_t pages) const noexcept {
  return (pages * blocks_bytes_ + kSystemPage - 1) / kSystemPage * kSystemPage;
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
    if (slot.piece != last) bytes += piece_bytes(slot.piece->pages) + Piece::nbytes(slot.piece->pages);
    last = slot.piece;
  }
  return bytes;
}

PageList::Slot PageList::new_piece(std::size_t first, std::size_t pages) {
  const auto count = static_cast<Count>(pages);
  std::byte* notes = take_memory(Piece::nbytes(count));
  std::byte* memory = nullptr;
  try {
    memory = take_memory(piece_bytes(count));
  } catch (...) {
    give_memory(notes, Piece::nbytes(count));
    throw;
  }
  auto* piece = ::new (notes) Piece{memory, first, count, 1};
  std::memset(piece->counts(), 0, pages * sizeof(Count));
  piece->counts()[0] = 1;
  return {piece, 0};
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
  Piece* piece = slot.piece;
  if (std::atomic_ref<Count>(piece->live).fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  give_memory(piece->memory, piece_bytes(piece->pages));
  give_memory(reinterpret_cast<std::byte*>(piece), Piece::nbytes(piece->pages));
}

}  // namespace veloxquant
