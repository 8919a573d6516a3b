// PositionList: the positions of a row's tokens in the text, as runs of consecutive positions.
//
// Positions grow along a row. A run says that tokens index, index + 1, ... have the positions position,
// position + 1, ...; text without gaps is one run of 16 bytes, whatever its length.
#pragma once

#include <cstdint>
#include <span>

#include "cache/page_pool.hpp"

namespace veloxquant {

// Positions are below it: no text is as long, and sums and differences of positions stay far from overflow.
inline constexpr std::int64_t kPositionLimit = std::int64_t{1} << 40;

class PositionList {
  struct Run {
    std::int64_t index, position;
    bool continues_with(std::int64_t i, std::int64_t p) const noexcept { return p - position == i - index; }
  };

 public:
  // The position of token `index`, which must be below the row's length.
  std::int64_t at(std::int64_t index) const noexcept;
  // The position that follows those of `size` tokens.
  std::int64_t next(std::int64_t size) const noexcept { return size == 0 ? 0 : at(size - 1) + 1; }
  std::size_t nbytes() const noexcept { return held_by(runs_); }
  static std::size_t nbytes_without_gaps() noexcept { return room_for(1) * sizeof(Run); }

  // Makes room for these positions of tokens size, size + 1, ...
  void reserve(std::int64_t size, std::span<const std::int64_t> positions);
  // Adds them; after reserve() it does not throw.
  void append(std::int64_t size, std::span<const std::int64_t> positions) noexcept;
  // Forgets the tokens from `size` on.
  void truncate(std::int64_t size) noexcept;

 private:
  HeldVector<Run> runs_;
};

}  // namespace veloxquant
