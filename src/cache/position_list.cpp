#include "cache/position_list.hpp"

#include <algorithm>

namespace veloxquant {

std::int64_t PositionList::at(std::int64_t index) const noexcept {
  const auto after = std::upper_bound(runs_.begin(), runs_.end(), index,
                                      [](std::int64_t i, const Run& run) { return i < run.index; });
  const Run& run = *(after - 1);
  return run.position + (index - run.index);
}

void PositionList::reserve(std::int64_t size, std::span<const std::int64_t> positions) {
  if (positions.empty()) return;
  std::size_t runs =
      runs_.size() + (runs_.empty() || !runs_.back().continues_with(size, positions[0]) ? 1 : 0);
  for (std::size_t i = 1; i < positions.size(); ++i) runs += positions[i] != positions[i - 1] + 1 ? 1 : 0;
  make_room(runs_, runs);
}

void PositionList::append(std::int64_t size, std::span<const std::int64_t> positions) noexcept {
  for (const std::int64_t position : positions) {
    if (runs_.empty() || !runs_.back().continues_with(size, position)) runs_.push_back({size, position});
    ++size;
  }
}

void PositionList::truncate(std::int64_t size) noexcept {
  while (!runs_.empty() && runs_.back().index >= size) runs_.pop_back();
}

}  // namespace veloxquant
