// A parallel loop over rows (tokens) of little work each.
#pragma once

#include <algorithm>
#include <cstdint>
#include <veloxquant/core/thread_pool.hpp>

namespace veloxquant {

template <class Body>
void for_each_row(ThreadPool& pool, std::int64_t rows, const Body& body) {
  constexpr std::int64_t kRowsPerItem = 16;
  const auto items = static_cast<std::size_t>((rows + kRowsPerItem - 1) / kRowsPerItem);
  pool.parallel_for(items, [&](std::size_t item, int) {
    const std::int64_t begin = static_cast<std::int64_t>(item) * kRowsPerItem;
    for (std::int64_t row = begin; row < std::min(begin + kRowsPerItem, rows); ++row) body(row);
  });
}

}  // namespace veloxquant
