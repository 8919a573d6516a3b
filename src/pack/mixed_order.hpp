// Order of mixed codes: run by run, the codes of 64 vectors each in the order of its own code, then the
// scales.
//
//     bytes   0                    64 r0                 64 (r0 + r1)            64 code_bytes
//             run 0 of 64 vectors  run 1 of 64 vectors   ...                     scales
//
// r0, r1, ... are the bytes that a vector's runs take.
#pragma once

#include <memory>

#include "pack/block_order.hpp"

namespace veloxquant {

std::unique_ptr<const BlockOrder> mixed_order(const CodeSpec& spec, Role role);

}  // namespace veloxquant
