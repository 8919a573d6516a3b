// What the searches of this room ask for and give back.
//
// A search for the vectors of largest inner product with a query goes through them twice (RaBitQ,
// arXiv:2405.12497): the first stage reads one bit a coordinate and gives an estimate of each inner product
// with an error margin; only vectors that the margins cannot exclude are read in full.
#pragma once

#include <cstdint>
#include <vector>

namespace veloxquant {

// An unbiased estimate of an inner product. With |q| and |x| the norms, c the cosine between the vector and
// its code and rho that between query and vector, its standard deviation is |q| |x| sqrt((1 / c^2 - 1) (1 -
// rho^2) / (d - 1)), and
//
//     margin = eps0 |q| |x| sqrt((1 / c^2 - 1) / (d - 1)),
//
// so that the estimate lies within the margin with the probability that a normal number lies within eps0 /
// sqrt(1 - rho^2) standard deviations: 94 % at eps0 = 1.9 for a vector across the query, more for one along
// it.
struct Estimate {
  float value = 0, margin = 0;

  float lower() const noexcept { return value - margin; }
  float upper() const noexcept { return value + margin; }
};

struct SearchOptions {
  int top_k = 10;     // at least 1; fewer are found where there are not so many vectors
  float eps0 = 1.9f;  // half the width of the margins; 3 and more excludes hardly a vector wrongly
};

struct Neighbour {
  std::int64_t index = 0;
  float score = 0;  // the inner product, of all that is stored of the vector
};

struct SearchResult {
  std::vector<Neighbour> neighbours;  // best first; of equal scores the lower index first
  std::int64_t reranked = 0;          // vectors that were read in full
};

}  // namespace veloxquant
