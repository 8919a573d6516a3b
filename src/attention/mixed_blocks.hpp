// Block kernels of mixed codes: the kernels of their runs, one after the other, each over its slice of the
// coordinates and with its own step, so that a wide table does not cost the precision of a narrow one.
#pragma once

#include "attention/block_kernels.hpp"

namespace veloxquant {

// Without functions where a run has no kernel, or (values) where some runs want floats as weights and
// others integers.
KeyKernel mixed_keys(const CodeSpec& spec, AttentionArithmetic arithmetic);
ValueKernel mixed_values(const CodeSpec& spec, AttentionArithmetic arithmetic);

}  // namespace veloxquant
