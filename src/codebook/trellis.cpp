#include "codebook/trellis.hpp"

#include <fmt/format.h>

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
  if (n >= 16 && n <= kLongest && n % 2 == 0) return;
  throw ShapeError(
      operation,
      fmt::format("{} elements, but a trellis code takes an even number from 16 to {}", n, kLongest));
}

}  // namespace trellis

const TrellisTable& trellis_table(int bits) {
  trellis::check_bits("trellis_table", bits);
  return trellis::kTables[static_cast<std::size_t>(bits - 1)];
}

std::size_t trellis_code_bytes(int n, int bits) { return packed_bytes(n, bits); }

void trellis_decode(const TrellisTable& table, const std::uint8_t* codes, int n, float* y) {
  const auto bits = static_cast<std::size_t>(table.bits), total = static_cast<std::size_t>(n) * bits;
  for (int t = 0; t < n; ++t) {
    const unsigned w = read_cyclic_bits(codes, static_cast<std::size_t>(t) * bits, 8, total);
    y[t] = static_cast<float>(table.values[w]) / trellis::kScale;
  }
}

}  // namespace veloxquant
