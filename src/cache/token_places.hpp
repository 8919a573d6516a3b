// Where coded tokens stand, for methods whose transform depends on the position (VectorQuantizer::frame).
#pragma once

#include <cstdint>
#include <span>
#include <veloxquant/quantizers/vector_quantizer.hpp>

namespace veloxquant {

// Places of the coded tokens `coded`, coded + 1, ... of a row (counted without the sinks), by the rule of TokenPlace.
// position(c) is that of coded token c. The answer follows from the positions alone, whatever part is asked for.
// Without frames (0) there are no places to tell.
template <class Position>
void find_token_places(std::int64_t frame, std::int64_t coded, std::span<TokenPlace> places,
                       const Position& position) {
  if (frame == 0) return;
  const std::int64_t first = coded / frame * frame;
  std::int64_t start = position(first);
  const bool gaps = position(coded) - start != coded - first;
  for (std::int64_t c = gaps ? first : coded; c < coded + static_cast<std::int64_t>(places.size()); ++c) {
    const std::int64_t here = position(c);
    if (c % frame == 0 || here - start >= frame) start = here;
    if (c >= coded) places[static_cast<std::size_t>(c - coded)] = {.position = here, .frame_start = start};
  }
}

}  // namespace veloxquant
