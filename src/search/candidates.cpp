#include "search/candidates.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>
#include <veloxquant/core/error.hpp>

#include "codebook/row_math.hpp"
#include "core/input.hpp"

namespace veloxquant {
namespace {

constexpr double kLargestNorm = 1e30;  // with scales of f16, inner products then stay in the range of f32

struct Better {
  bool operator()(const Neighbour& a, const Neighbour& b) const noexcept {
    return a.score != b.score ? a.score > b.score : a.index < b.index;
  }
};
struct Worse {
  bool operator()(const Neighbour& a, const Neighbour& b) const noexcept { return Better()(b, a); }
};

// The k-th largest lower limit; few numbers pass the k largest of those before them.
float threshold(std::span<const Estimate> estimates, std::size_t k) {
  std::vector<float> largest;  // a heap with the least on top
  for (const Estimate& estimate : estimates) {
    const float lower = estimate.lower();
    if (largest.size() == k && lower <= largest.front()) continue;
    largest.push_back(lower);
    std::push_heap(largest.begin(), largest.end(), std::greater<>());
    if (largest.size() <= k) continue;
    std::pop_heap(largest.begin(), largest.end(), std::greater<>());
    largest.pop_back();
  }
  return largest.front();
}

}  // namespace

void check_eps0(float eps0) {
  if (!(eps0 >= 0) || !std::isfinite(eps0))
    throw ConfigError("search", fmt::format("eps0 is {}, but must be finite and not negative", eps0));
}

void check_options(const SearchOptions& options) {
  if (options.top_k < 1)
    throw ConfigError("search", fmt::format("top_k is {}, but must be at least 1", options.top_k));
  check_eps0(options.eps0);
}

Tensor checked_query(const Tensor& query, int dims) {
  if (!query.defined() || query.rank() != 1 || query.dim(0) != dims) {
    throw ShapeError("search", fmt::format("the query has shape {}, but must be [{}]",
                                           query.defined() ? to_string(query.shape()) : "of nothing", dims));
  }
  Tensor rows = checked_vectors(query.contiguous().reshape({1, 1, 1, dims}), dims, "search").reshape({dims});
  const double norm = std::sqrt(dot(rows.data<float>(), rows.data<float>(), dims));
  if (norm > kLargestNorm)
    throw NumericError("search", fmt::format("the query's norm is {}, but at most {}", norm, kLargestNorm));
  return rows;
}

SearchResult best_of(std::span<const Estimate> estimates, int top_k,
                     const std::function<float(std::size_t)>& exact) {
  SearchResult result;
  const std::size_t k = std::min(estimates.size(), static_cast<std::size_t>(top_k));
  if (k == 0) return result;
  const float least = threshold(estimates, k);
  std::vector<Neighbour> candidates;  // with upper limits for scores; a heap with the best on top
  for (std::size_t i = 0; i < estimates.size(); ++i) {
    const float upper = estimates[i].upper();
    if (upper >= least) candidates.push_back({static_cast<std::int64_t>(i), upper});
  }
  std::make_heap(candidates.begin(), candidates.end(), Worse());
  std::vector<Neighbour>& best = result.neighbours;  // a heap with the worst on top
  for (; !candidates.empty(); candidates.pop_back()) {
    std::pop_heap(candidates.begin(), candidates.end(), Worse());
    const Neighbour candidate = candidates.back();
    if (best.size() == k && candidate.score < best.front().score) break;
    const float score = exact(static_cast<std::size_t>(candidate.index));
    if (!std::isfinite(score))
      throw NumericError("search",
                         fmt::format("the inner product with vector {} is {}", candidate.index, score));
    best.push_back({candidate.index, score});
    std::push_heap(best.begin(), best.end(), Better());
    ++result.reranked;
    if (best.size() <= k) continue;
    std::pop_heap(best.begin(), best.end(), Better());
    best.pop_back();
  }
  std::sort(best.begin(), best.end(), Better());
  return result;
}

}  // namespace veloxquant
