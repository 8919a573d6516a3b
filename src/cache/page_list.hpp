// PageList: pages of one batch row, counted by reference.
//
// Page p holds tokens 64 p .. 64 p + 63 of all KV heads: the block of head 0, of head 1, and so on. Copying the list
// shares the pages; whoever wants to write to a page that is shared makes a copy of it first.
//
// Pages are cut from pieces of address space, whole pages of the system, because every piece from malloc costs
// it some hundred bytes more than was asked for, which is a lot beside a page of 1-bit codes. Pieces begin at
// the pages 0, 1, 2, 4, 8 and so on; of a piece, the memory up to the end of its last used page is held (and
// counts), what follows is address space only. Where 2 MiB of a piece are in use, they become a huge page if the
// system has one. A copied page has a piece of its own.
//
//     a piece:   [page first][page first + 1] ... [up to page 2 first - 1], and apart from it its reference counts
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "cache/page_pool.hpp"

namespace veloxquant {

class PageList {
 public:
  // `blocks_bytes`: of the blocks of all heads.
  explicit PageList(std::size_t blocks_bytes) noexcept : blocks_bytes_(blocks_bytes) {}
  PageList(const PageList& other);
  PageList(PageList&& other) noexcept = default;
  PageList& operator=(PageList&& other) noexcept;
  PageList& operator=(const PageList&) = delete;
  ~PageList() { truncate(0); }

  std::size_t size() const noexcept { return pages_.size(); }
  std::uint8_t* operator[](std::size_t index) const noexcept { return pages_[index]; }
  // The addresses of the pages, one after the other.
  const std::uint8_t* const* data() const noexcept { return pages_.data(); }
  // Held by more than one list.
  bool shared(std::size_t index) const noexcept;
  // Bytes of the pages and of the list.
  std::size_t nbytes() const noexcept;
  // Those of a list of so many pages that shares none.
  static std::size_t nbytes_of(std::size_t pages, std::size_t blocks_bytes) noexcept;

  void reserve(std::size_t size) {
    make_room(pages_, size);
    make_room(slots_, size);
  }
  // A new page at the end, all zero.
  std::uint8_t* add() { return add_for(*this, pages_.size(), nullptr); }
  // A new page at the end of this list that will be page `index` of `row` (adopt, exchange): all zero, or a copy of
  // `copied`.
  std::uint8_t* add_for(const PageList& row, std::size_t index, const std::uint8_t* copied);
  // Takes page `index` out of `other` (which forgets it) to the end of this list; there must be room.
  void adopt(PageList& other, std::size_t index) noexcept;
  // Exchanges one page of each list.
  void exchange(std::size_t index, PageList& other, std::size_t other_index) noexcept;
  // Lets go of the pages from `size` on.
  void truncate(std::size_t size) noexcept;

 private:
  struct Piece;
  struct Slot {
    Piece* piece;
    std::uint32_t index;
  };

  static std::atomic_ref<std::uint32_t> references(const Slot& slot) noexcept;
  std::size_t piece_bytes(std::size_t pages) const noexcept;
  Slot new_piece(std::size_t first, std::size_t pages);
  void use_pages(Piece& piece, std::uint32_t pages) noexcept;
  void shrink(Piece& piece) noexcept;
  void release(const Slot& slot) noexcept;

  std::size_t blocks_bytes_;
  HeldVector<std::uint8_t*> pages_;
  HeldVector<Slot> slots_;  // of the pages
};

}  // namespace veloxquant
