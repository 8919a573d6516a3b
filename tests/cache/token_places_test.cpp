#include "cache/token_places.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace veloxquant {
namespace {

// TokenPlace's rule, token by token from the first.
std::vector<TokenPlace> by_definition(std::int64_t frame, const std::vector<std::int64_t>& positions) {
  std::vector<TokenPlace> places;
  for (std::size_t c = 0; c < positions.size(); ++c) {
    const bool begins =
        static_cast<std::int64_t>(c) % frame == 0 || positions[c] - places.back().frame_start >= frame;
    places.push_back({positions[c], begins ? positions[c] : places.back().frame_start});
  }
  return places;
}

TEST(TokenPlaces, FollowTheRuleWhateverPartIsAskedFor) {
  std::mt19937 random(1);
  for (const std::int64_t frame : {1, 7, 16, 64, 100, 1 << 20}) {
    for (const int rarely : {3, 20, 1000}) {
      std::vector<std::int64_t> positions{5};
      while (positions.size() < 300)
        positions.push_back(positions.back() + (random() % rarely == 0 ? 1 + random() % 90 : 1));
      const auto position = [&](std::int64_t c) { return positions[static_cast<std::size_t>(c)]; };
      const std::vector<TokenPlace> wanted = by_definition(frame, positions);
      for (std::size_t from = 0; from < positions.size(); from += 1 + random() % 9) {
        std::vector<TokenPlace> places(1 + random() % (positions.size() - from));
        find_token_places(frame, static_cast<std::int64_t>(from), places, position);
        for (std::size_t i = 0; i < places.size(); ++i) {
          ASSERT_EQ(places[i].position, wanted[from + i].position);
          ASSERT_EQ(places[i].frame_start, wanted[from + i].frame_start) << frame << " " << from << " " << i;
        }
        // The ranges cover all, each in one frame and without a gap.
        auto next = static_cast<std::int64_t>(from);
        const auto count = static_cast<std::int64_t>(places.size());
        cut_frames(frame, next, count, position,
                   [&](std::int64_t first, std::int64_t end, const TokenPlace& place) {
                     ASSERT_EQ(first, next);
                     for (; next < end; ++next) {
                       ASSERT_EQ(position(next) - place.position, next - first);
                       ASSERT_EQ(wanted[static_cast<std::size_t>(next)].frame_start, place.frame_start);
                     }
                   });
        ASSERT_EQ(next, static_cast<std::int64_t>(from) + count);
      }
    }
  }
}

}  // namespace
}  // namespace veloxquant
