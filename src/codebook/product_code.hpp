// Product codes with trained codebooks: a table of centroids instead of one of values.
#pragma once

#include <memory>
#include <span>

#include "codebook/row_code.hpp"

namespace veloxquant {

// The nearest of 2^bits centroids (8 or 12 bits) for each sub-vector of `dims` coordinates (4 or 8) of a vector
// that is divided by its root mean square. Throws ConfigError unless head_dim is a multiple of `dims`.
std::unique_ptr<RowCode> make_product_code(std::span<const float> centroids, int bits, int dims, int head_dim,
                                           ScaleMode scale);

}  // namespace veloxquant
