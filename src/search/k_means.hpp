// Centres of a set of vectors: Lloyd's algorithm from the starting points of greedy k-means++ (Arthur and
// Vassilvitskii 2007).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace veloxquant {

// `count` centres [count, dims] of rows [rows, dims], count from 1 to rows. At most 25 rounds, ended early
// when no row changes its centre; a centre that loses all its rows stays. All sums have one order: the same
// on every CPU.
std::vector<float> k_means(const float* rows, std::size_t row_count, int dims, int count, std::uint64_t seed);

// The nearest centre of each row; of equally near ones the first.
std::vector<std::uint8_t> nearest_centres(const float* rows, std::size_t row_count, int dims,
                                          const std::vector<float>& centres);

}  // namespace veloxquant
