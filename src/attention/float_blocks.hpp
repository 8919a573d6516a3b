// Block kernels of floating-point codes: f32, f16, bf16, fp8.
//
// Their blocks are in row order, and their arithmetic is fp32 at every CPU level, so they serve the precise
// arithmetic as well as the fast one.
#pragma once

#include "attention/block_kernels.hpp"

namespace veloxquant {

// Without functions for other codes, and for vectors that are not a multiple of 16 dimensions.
KeyKernel float_keys(const CodeSpec& spec);
ValueKernel float_values(const CodeSpec& spec);

}  // namespace veloxquant
