// The numbers that define the trellis search, shared by the vectorized encoder and the scalar reference.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "codebook/trellis.hpp"

namespace veloxquant::trellis {

// The search counts in units of 2^-(9 + k) standard deviations at k bits, so that a difference d costs d * d
// / 2^15, rounded, whatever the width: 4^k times as much a bit more, about 10 for the error of an element.
// Inputs are limited to 4 standard deviations, and differences to +-32767. With weights, a difference is
// doubled, limited, and multiplied by its weight first, rounded again.
inline constexpr int kTableBits = 12;  // values of tables are in 2^-12
constexpr float search_scale(int bits) { return static_cast<float>(512 << bits); }
constexpr int search_limit(int bits) { return (2048 << bits) - 1; }
// A value of a table in those units: divided by 4 or 2, rounded up at halves, or doubled.
constexpr int search_value(int bits, int value) {
  return bits > 3 ? value * 2 : (value + ((1 << (3 - bits)) >> 1)) >> (3 - bits);
}
inline constexpr int kMostDifference = 32767;

// Metrics are 16-bit and saturate. The smallest is subtracted from all after every eighth element of a piece
// of a run that is passed over, and after its last.
inline constexpr int kRenormalizeEvery = 8;
inline constexpr std::uint16_t kUnreachable = 0xFFFF;

// Strings shorter than this take the best of all seams; longer ones the seam that a first pass finds.
inline constexpr int kSeamFrom = 64;

// Bits on each side of the seam that the first pass looks at, going round more than once if need be; it takes
// runs whole or eight elements at a time. A choice of bits acts on 8 bits, yet the best path settles slowly:
// at n = 128 half as many cost .4 to 1 % more distortion.
inline constexpr int kSeamReach = 96;

// Vectors that the vectorized search takes side by side.
inline constexpr int kTogether = 4;

// The path through a string is searched from the run behind the first one of the largest width on.
std::size_t first_searched(TrellisRuns runs) noexcept;

// Consecutive elements of a run, as a pass goes over them.
struct Piece {
  std::size_t run;   // in the order of the search
  int first, count;  // elements of the run
};
// The pieces that end at the seam, or begin there; `runs` are in the order of the search.
void pieces_before_seam(TrellisRuns runs, std::vector<Piece>& pieces);
void pieces_behind_seam(TrellisRuns runs, std::vector<Piece>& pieces);

// Lower bounds of what the cycles through each of `groups` groups cost, from two laps without a seam: what
// the metrics are after the first and, in `bounds`, after the second, each less the number given. Replaces
// the bounds by themselves less the number returned, below kUnreachable.
inline std::uint32_t join_bounds(const std::uint16_t* first, std::uint32_t of_first, std::uint16_t* bounds,
                                 std::uint32_t of_second, int groups) {
  std::uint32_t joined[128], least = ~0U;
  for (int g = 0; g < groups; ++g) {
    const std::uint32_t whole = of_first + first[g], second = of_second + bounds[g];
    joined[g] = second > whole + first[g] ? second - first[g] : whole;
    least = joined[g] < least ? joined[g] : least;
  }
  for (int g = 0; g < groups; ++g) {
    const std::uint32_t above = joined[g] - least;
    bounds[g] = static_cast<std::uint16_t>(above < kUnreachable ? above : kUnreachable - 1);
  }
  return least;
}

// Throw ConfigError unless bits is 1, 2, 3 or 4; for runs also ShapeError unless such a string exists.
void check_bits(const char* operation, int bits);
void check_runs(const char* operation, TrellisRuns runs);

extern const std::array<TrellisTable, 4> kTables;  // by bits - 1

}  // namespace veloxquant::trellis
