#include "attention/trellis_blocks.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include "attention/block_rows.hpp"

namespace veloxquant {
namespace {

// The byte of a positive or negative value; odd about -1/2 wherever `value` is not a whole number of steps.
float rounded(float value, float step) {
  return std::clamp(std::floor(value / step) + 128.0f, 0.0f, 255.0f);
}

}  // namespace

bool has_odd_table(const CodeSpec& spec) {
  const std::vector<float>& table = *spec.table;
  for (std::size_t w = 0; w < 128; ++w) {
    if (table[255 - w] != -table[w]) return false;
  }
  return true;
}

TrellisBytes round_trellis_table(const CodeSpec& spec) {
  const std::span<const float> half(spec.table->data(), 128);
  float largest = 0;
  for (const float value : half) largest = std::max(largest, std::abs(value));
  TrellisBytes best{};
  double least = std::numeric_limits<double>::infinity();
  for (int top = 4 * 140; top >= 4 * 96 && largest > 0; --top) {
    const float step = 4.0f * largest / static_cast<float>(top);
    double error = 0;
    for (const float value : half) {
      const double lost = static_cast<double>((rounded(value, step) - 127.5f) * step - value);
      error += lost * lost;
    }
    if (error < least) {
      least = error;
      best.step = step;
    }
  }
  for (std::size_t w = 0; w < 128 && best.step > 0; ++w)
    best.bytes[w] = static_cast<std::uint8_t>(rounded(half[w], best.step));
  return best;
}

void prepare_trellis_rows(const KeyKernel& self, const float* queries, int rows, std::byte* prepared) {
  const auto& table = *static_cast<const TrellisBytes*>(self.tables.get());
  const auto dims = static_cast<std::size_t>(self.spec.head_dim), width = static_cast<std::size_t>(kernel_row_width(rows));
  const bool wide = trellis_is_wide(self.spec.bits);
  auto& head = *reinterpret_cast<TrellisQueryHead*>(prepared);
  auto* high = reinterpret_cast<std::int8_t*>(prepared + sizeof(TrellisQueryHead));
  std::int8_t* low = high + dims * width;
  std::memset(prepared, 0, sizeof(TrellisQueryHead) + dims * width * (wide ? 2 : 1));
  for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) {
    const float* query = queries + r * dims;
    float largest = 0;
    for (std::size_t c = 0; c < dims; ++c) largest = std::max(largest, std::abs(query[c]));
    if (!(largest > 1e-30f)) continue;
    const float top = wide ? 127.0f * 256.0f : 127.0f, inverse = top / largest;
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < dims; ++i) {
      const int whole = static_cast<int>(std::nearbyint(query[table.dims[i]] * inverse));
      const std::size_t at = (i / 4 * width + r) * 4 + i % 4;
      const int upper = wide ? (whole + 128) >> 8 : whole;
      high[at] = static_cast<std::int8_t>(upper);
      if (wide) low[at] = static_cast<std::int8_t>(whole - 256 * upper);
      sum += whole;
    }
    head.step[r] = largest / top * table.step;
    head.bias[r] = 127.5f * static_cast<float>(sum);
  }
}

}  // namespace veloxquant
