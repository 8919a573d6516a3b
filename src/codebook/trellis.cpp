#include "codebook/trellis.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include <veloxquant/core/error.hpp>

#include "codebook/trellis_search.hpp"
#include "pack/bits.hpp"

namespace veloxquant {
namespace trellis {
namespace {

// As many eights of a run as have `bits` bits, if it has so many.
int reaching(const TrellisRun& run, int bits) {
  const int eights = (bits + 8 * run.table->bits - 1) / (8 * run.table->bits);
  return std::min(8 * eights, run.count);
}

}  // namespace

void check_bits(const char* operation, int bits) {
  if (bits >= 1 && bits <= 4) return;
  throw ConfigError(operation,
                    fmt::format("bits is {}, but a trellis code has 1 to 4 bits an element", bits));
}

void check_runs(const char* operation, TrellisRuns runs) {
  constexpr int kLongest = 1 << 16;
  int total = 0;
  for (const TrellisRun& run : runs) {
    check_bits(operation, run.table->bits);
    const bool whole = run.count % trellis_unit(runs.size()) == 0;
    if (run.count < 8 || run.count > kLongest - total || !whole) {
      throw ShapeError(
          operation,
          fmt::format("a run of {} elements behind {}; a run has a multiple of 8, or an even number from "
                      "8 on if there is no other, and a string at most {}",
                      run.count, total, kLongest));
    }
    total += run.count;
  }
  if (runs.empty()) throw ShapeError(operation, "a string of no runs");
}

std::size_t first_searched(TrellisRuns runs) noexcept {
  const auto widest = std::max_element(
      runs.begin(), runs.end(),
      [](const TrellisRun& a, const TrellisRun& b) { return a.table->bits < b.table->bits; });
  return (static_cast<std::size_t>(widest - runs.begin()) + 1) % runs.size();
}

void pieces_before_seam(TrellisRuns runs, std::vector<Piece>& pieces) {
  pieces.clear();
  std::size_t r = runs.size() - 1;
  for (int bits = kSeamReach; bits > 0; r = r == 0 ? runs.size() - 1 : r - 1) {
    const int count = reaching(runs[r], bits);
    pieces.push_back({r, runs[r].count - count, count});
    bits -= count * runs[r].table->bits;
  }
  std::reverse(pieces.begin(), pieces.end());
}

void pieces_behind_seam(TrellisRuns runs, std::vector<Piece>& pieces) {
  pieces.clear();
  std::size_t r = 0;
  for (int bits = kSeamReach; bits > 0; r = r + 1 == runs.size() ? 0 : r + 1) {
    const int count = reaching(runs[r], bits);
    pieces.push_back({r, 0, count});
    bits -= count * runs[r].table->bits;
  }
}

}  // namespace trellis

const TrellisTable& trellis_table(int bits) {
  trellis::check_bits("trellis_table", bits);
  return trellis::kTables[static_cast<std::size_t>(bits - 1)];
}

double trellis_distortion(int bits, int n) {
  struct Measured {
    int from;
    double distortion[4];  // by bits - 1
  };
  static constexpr Measured kShort[] = {
      {48, {.2806, .0747, .01985, .00535}}, {32, {.2861, .0756, .01993, .00536}},
      {24, {.2935, .0769, .02016, .00539}}, {16, {.3084, .0803, .02085, .00550}},
      {12, {.3238, .0844, .0217, .00567}},  {10, {.3374, .0877, .0225, .00584}},
      {8, {.3512, .0929, .0238, .00611}}};
  const double longest = trellis_table(bits).distortion;
  const TrellisRun run{&trellis_table(bits), n};
  trellis::check_runs("trellis_distortion", {&run, 1});
  if (n >= trellis::kSeamFrom) return longest;
  const auto* const found =
      std::find_if(std::begin(kShort), std::end(kShort), [n](const Measured& m) { return n >= m.from; });
  return found->distortion[bits - 1];
}

// Where a run is followed by a wider one, its last windows are half that one's, whose bits count more: it
// loses. Where a narrower one follows, it gains. Measured with strings of 16 to 256 elements
// (tests/codebook_trellis has some).
std::vector<double> trellis_distortions(TrellisRuns runs) {
  if (runs.size() == 1) return {trellis_distortion(runs[0].table->bits, runs[0].count)};
  constexpr double kLost[4][4] = {{0, .8, 1.1, 1.8}, {0, 0, .6, 1.0}, {0, 0, 0, .5}, {0, 0, 0, 0}},
                   kGained = .25;
  std::vector<double> distortions;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const int own = runs[r].table->bits, next = runs[(r + 1) % runs.size()].table->bits;
    const double elements = next < own ? -kGained : kLost[own - 1][next - 1];
    distortions.push_back(runs[r].table->distortion * (1 + elements / runs[r].count));
  }
  return distortions;
}

int trellis_length(TrellisRuns runs) noexcept {
  int n = 0;
  for (const TrellisRun& run : runs) n += run.count;
  return n;
}

std::size_t trellis_code_bytes(int n, int bits) { return packed_bytes(n, bits); }

std::size_t trellis_code_bytes(TrellisRuns runs) noexcept {
  std::size_t bytes = 0;
  for (const TrellisRun& run : runs) bytes += packed_bytes(run.count, run.table->bits);
  return bytes;
}

void trellis_decode(TrellisRuns runs, const std::uint8_t* codes, float* y) {
  constexpr float kUnit = 1.0F / (1 << trellis::kTableBits);
  std::size_t total = 0, at = 0;
  for (const TrellisRun& run : runs)
    total += static_cast<std::size_t>(run.count) * static_cast<std::size_t>(run.table->bits);
  // Windows lie in two bytes each. Those at the string's end go on at its begin.
  const std::size_t inside = total / 8 == 0 ? 0 : 8 * (total / 8 - 1);
  for (const TrellisRun& run : runs) {
    for (int t = 0; t < run.count; ++t, at += static_cast<std::size_t>(run.table->bits)) {
      std::uint16_t word;
      if (at < inside) {
        std::memcpy(&word, codes + at / 8, 2);
        word = static_cast<std::uint16_t>(word >> at % 8 & 255);
      } else {
        word = static_cast<std::uint16_t>(read_cyclic_bits(codes, at, 8, total));
      }
      *y++ = static_cast<float>(run.table->values[word]) * kUnit;
    }
  }
}

}  // namespace veloxquant
