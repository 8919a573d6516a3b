// Trellis codes on CPUs with AVX-512 VBMI: 64 windows by one byte permutation and one multishift, 64 look-ups
// in the 256-entry table by eight byte permutations.
#pragma once

#include "attention/attend.hpp"

namespace veloxquant {

// The decoder of a trellis code, or null where this CPU, the head size or the table does not allow it: rows
// must end on a byte, and table values must be multiples of 1/4096 in the range of 16-bit integers, as the
// trained ones are.
TileDecoder::Function find_trellis_vbmi(const CodeSpec& spec);

}  // namespace veloxquant
