// Block kernels that decode a block's rows and attend on them as f32 rows (float_blocks.hpp), in fp32
// throughout: of product codes, and of mixed codes, or single runs of them, that have no kernels of their own. Tiles
// cannot serve for the latter: with fewer coordinates than the vector has, rows in the space of the input cost
// a matrix product each.
#pragma once

#include <veloxquant/core/registry.hpp>

#include "attention/block_kernels.hpp"

namespace veloxquant {

KeyKernel decoded_keys(const CodeSpec& spec);
ValueKernel decoded_values(const CodeSpec& spec);
// Whether a kernel is one of these.
bool reads_decoded(const KeyKernel& kernel);
bool reads_decoded(const ValueKernel& kernel);

}  // namespace veloxquant
