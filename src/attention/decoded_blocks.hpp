// Block kernels of mixed codes, or of single runs of them, that have no kernels of their own: a block's rows are decoded, run by
// run, and attended as f32 rows (float_blocks.hpp), in fp32 throughout. Tiles cannot serve there: with
// fewer coordinates than the vector has, rows in the space of the input cost a matrix product each.
#pragma once

#include <veloxquant/core/registry.hpp>

#include "attention/block_kernels.hpp"

namespace veloxquant {

KeyKernel decoded_keys(const CodeSpec& spec);
ValueKernel decoded_values(const CodeSpec& spec);

}  // namespace veloxquant
