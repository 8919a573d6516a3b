// Block kernels of product codes. Keys: a table of the products of each sub-query with all centroids is made
// once a call, and a key's score is a sum of as many look-ups as it has sub-vectors. In f32 throughout, at
// every CPU level.
#pragma once

#include "attention/block_kernels.hpp"

namespace veloxquant {

KeyKernel product_keys(const CodeSpec& spec);

}  // namespace veloxquant
