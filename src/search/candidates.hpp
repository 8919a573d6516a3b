// The second stage of a search: the best vectors, of which as few as possible are read in full.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include <veloxquant/core/tensor.hpp>
#include <veloxquant/search/neighbours.hpp>

namespace veloxquant {

// Throws ConfigError unless top_k is at least 1 and eps0 finite and not negative.
void check_options(const SearchOptions& options);
void check_eps0(float eps0);

// query [dims] of f32, f16 or bf16 -> contiguous f32. Throws ShapeError, DTypeError, NumericError.
Tensor checked_query(const Tensor& query, int dims);

// The `top_k` largest of exact(i), i < estimates.size(). A vector is asked for when its upper limit reaches
// the k-th largest lower limit, in falling order of upper limits, until these fall below the k-th largest
// score: where every score is within its limits, the answer is that of a full scan. `reranked` is the number
// of those asked for.
SearchResult best_of(std::span<const Estimate> estimates, int top_k,
                     const std::function<float(std::size_t)>& exact);

}  // namespace veloxquant
