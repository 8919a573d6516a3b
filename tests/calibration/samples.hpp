// Seeded vectors for the tests of this folder.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace veloxquant::testing {

// rows [count, dim]: normal, mixed by a random matrix so that coordinates are correlated, around `offset`.
inline std::vector<float> correlated_rows(std::size_t count, std::size_t dim, std::uint32_t seed,
                                          float offset = 0) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> mixing(dim * dim), rows(count * dim, offset), draw(dim);
  for (float& x : mixing) x = normal(random);
  for (std::size_t v = 0; v < count; ++v) {
    for (std::size_t i = 0; i < dim; ++i) draw[i] = normal(random) / static_cast<float>(i + 1);
    for (std::size_t i = 0; i < dim; ++i) {
      for (std::size_t j = 0; j < dim; ++j) rows[v * dim + j] += draw[i] * mixing[i * dim + j];
    }
  }
  return rows;
}

}  // namespace veloxquant::testing
