// Block kernels of mixed codes: the kernels of their runs, one after the other, each over its slice of the
// coordinates and with its own step, so that a wide table does not cost the precision of a narrow one.
#pragma once

#include "attention/block_kernels.hpp"

namespace veloxquant {

// Scalar runs that have no kernel are decoded (decoded_blocks.hpp), each by itself. Without functions where
// no run has one, or where one of the trellis runs has none, which without the others are no code.
KeyKernel mixed_keys(const CodeSpec& spec, AttentionArithmetic arithmetic);
ValueKernel mixed_values(const CodeSpec& spec, AttentionArithmetic arithmetic);

}  // namespace veloxquant
