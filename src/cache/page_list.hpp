// PageList: pages of one batch row, counted by reference.
//
// Page p holds tokens 64 p .. 64 p + 63 of all KV heads. One piece of memory for all heads, because every
// aligned piece costs the system's allocator about 64 bytes more than was asked for. Copying the list shares
// the pages; whoever wants to write to a page that is shared makes a copy of it first.
//
// A page in memory:   [block of head 0, BlockLayout::bytes()][block of head 1] ... [reference count, 4 bytes]
#pragma once

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

  void reserve(std::size_t size) { make_room(pages_, size); }
  // A new page at the end: all zero, or a copy of page `copied`.
  std::uint8_t* add(const std::uint8_t* copied = nullptr);
  // Takes page `index` out of `other` (which forgets it) to the end of this list; there must be room.
  void adopt(PageList& other, std::size_t index) noexcept;
  // Exchanges one page of each list.
  void exchange(std::size_t index, PageList& other, std::size_t other_index) noexcept;
  // Lets go of the pages from `size` on.
  void truncate(std::size_t size) noexcept;

 private:
  void release(std::uint8_t* page) noexcept;

  std::size_t blocks_bytes_;
  HeldVector<std::uint8_t*> pages_;
};

}  // namespace veloxquant
