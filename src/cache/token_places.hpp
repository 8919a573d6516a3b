// Where coded tokens stand, for methods whose transform depends on the position (VectorQuantizer::frame).
#pragma once

#include <algorithm>
#include <cstdint>
#include <ranges>
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
  // Frames that gaps have cut short: the next begins at the first token that is too far from the last begin.
  for (std::int64_t from = first; position(coded) - start >= frame; start = position(from)) {
    from = *std::ranges::partition_point(std::views::iota(from, coded + 1),
                                         [&](std::int64_t c) { return position(c) - start < frame; });
  }
  for (std::int64_t c = coded; c < coded + static_cast<std::int64_t>(places.size()); ++c) {
    const std::int64_t here = position(c);
    if (c % frame == 0 || here - start >= frame) start = here;
    places[static_cast<std::size_t>(c - coded)] = {.position = here, .frame_start = start};
  }
}

// The same as ranges: calls cut(first, end, place of the first) for the coded tokens [coded, coded + count),
// count > 0, cut where a frame begins or positions do not follow each other. Without gaps it looks at few
// positions.
template <class Position, class Cut>
void cut_frames(std::int64_t frame, std::int64_t coded, std::int64_t count, const Position& position,
                const Cut& cut) {
  const std::int64_t end = coded + count;
  TokenPlace place;
  find_token_places(frame, coded, {&place, 1}, position);
  const bool gaps = position(end - 1) - place.position != count - 1;
  for (std::int64_t c = coded; c < end;) {
    // Where a frame ends if positions follow each other.
    const std::int64_t last =
        std::min({end, c / frame * frame + frame, c + frame - (place.position - place.frame_start)});
    std::int64_t next = gaps ? c + 1 : last;
    while (next < last && position(next) - place.position == next - c) ++next;
    cut(c, next, place);
    if (next == end) return;
    const std::int64_t here = position(next);
    if (next % frame == 0 || here - place.frame_start >= frame) place.frame_start = here;
    place.position = here;
    c = next;
  }
}

}  // namespace veloxquant
