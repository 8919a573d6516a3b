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

void check_bits(const char* operation, int bits) {
  if (bits >= 1 && bits <= 4) return;
  throw ConfigError(operation,
                    fmt::format("bits is {}, but a trellis code has 1 to 4 bits an element", bits));
}

void check_length(const char* operation, int n) {
  constexpr int kLongest = 1 << 16;
  if (n >= 8 && n <= kLongest && n % 2 == 0) return;
  throw ShapeError(operation, fmt::format("{} elements, but a trellis code takes an even number from 8 to {}",
                                          n, kLongest));
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
  trellis::check_length("trellis_distortion", n);
  if (n >= trellis::kSeamFrom) return longest;
  const auto* const found =
      std::find_if(std::begin(kShort), std::end(kShort), [n](const Measured& m) { return n >= m.from; });
  return found->distortion[bits - 1];
}

std::size_t trellis_code_bytes(int n, int bits) { return packed_bytes(n, bits); }

void trellis_decode(const TrellisTable& table, const std::uint8_t* codes, int n, float* y) {
  const auto bits = static_cast<std::size_t>(table.bits), total = static_cast<std::size_t>(n) * bits;
  const std::size_t bytes = total / 8;
  // Windows lie in two bytes each. Those of the last elements go on at the begin of the string.
  const std::size_t whole = bytes == 0 ? 0 : 8 * (bytes - 1) / bits;
  for (std::size_t t = 0; t < whole; ++t) {
    std::uint16_t word;
    std::memcpy(&word, codes + t * bits / 8, 2);
    y[t] = static_cast<float>(table.values[word >> t * bits % 8 & 255]) / trellis::kScale;
  }
  for (std::size_t t = whole; t < static_cast<std::size_t>(n); ++t)
    y[t] = static_cast<float>(table.values[read_cyclic_bits(codes, t * bits, 8, total)]) / trellis::kScale;
}

}  // namespace veloxquant
