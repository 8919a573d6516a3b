// Rows turned back and rounded to pairs of 16-bit words, as WordMatrix takes them.
#pragma once

#include <cstdint>

#include "transform/rope_turn.hpp"

namespace veloxquant {

// words[r, p] = pair p of R^-1 x_r, its first coordinate in the lower half. Coordinates of rows [rows, pairs]
// are in units of the words' steps; their norms are at most kWordNorm.
void turn_back_to_words(const TurnAngles& angles, const float* firsts, const float* seconds, int rows,
                        std::int32_t* words);

}  // namespace veloxquant
