#include "codebook/trellis.hpp"

#include <fmt/format.h>

#include <veloxquant/core/error.hpp>

#include "codebook/trellis_search.hpp"

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

namespace {

// The 8 bits of the cyclic stream of `end` bits that start at bit `at`.
int window(const std::uint8_t* codes, int at, int end) {
  const int byte = at / 8;
  const int left = end - at;
  const int next = byte + 1 < (end + 7) / 8 ? codes[byte + 1] : 0;
  const int ahead = (codes[byte] | next << 8) >> at % 8;
  return left >= 8 ? ahead & 0xFF : ((ahead & ((1 << left) - 1)) | codes[0] << left) & 0xFF;
}

}  // namespace
}  // namespace trellis

const TrellisTable& trellis_table(int bits) {
  trellis::check_bits("trellis_table", bits);
  return trellis::kTables[static_cast<std::size_t>(bits - 1)];
}

std::size_t trellis_code_bytes(int n, int bits) {
  return (static_cast<std::size_t>(n) * static_cast<std::size_t>(bits) + 7) / 8;
}

void trellis_decode(const TrellisTable& table, const std::uint8_t* codes, int n, float* y) {
  for (int t = 0; t < n; ++t) {
    const int w = trellis::window(codes, t * table.bits, n * table.bits);
    y[t] = static_cast<float>(table.values[static_cast<std::size_t>(w)]) / trellis::kScale;
  }
}

}  // namespace veloxquant
