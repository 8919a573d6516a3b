#include "codebook/trellis.hpp"

#include <fmt/format.h>

#include <veloxquant/core/error.hpp>

#include "codebook/trellis_search.hpp"

namespace veloxquant {

namespace trellis {

void check_length(const char* operation, int n) {
  if (n < 16 || n % 2 != 0) {
    throw ShapeError(operation, fmt::format("{} elements; a trellis code takes an even number, at least 16", n));
  }
}

}  // namespace trellis

std::size_t trellis_code_bytes(int n, int bits) {
  return (static_cast<std::size_t>(n) * static_cast<std::size_t>(bits) + 7) / 8;
}

void trellis_decode(const TrellisTable& table, const std::uint8_t* codes, int n, float* y) {
  const int end = n * table.bits;
  const auto bit = [&](int at) { return (codes[at / 8] >> (at % 8)) & 1; };
  for (int t = 0; t < n; ++t) {
    int window = 0;
    for (int i = 0; i < 8; ++i) window |= bit((t * table.bits + i) % end) << i;
    y[t] = static_cast<float>(table.values[static_cast<std::size_t>(window)]) / trellis::kScale;
  }
}

}  // namespace veloxquant
