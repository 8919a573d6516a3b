#include "attention/scalar_blocks.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "pack/plane_order.hpp"

namespace veloxquant {

RoundedTable round_table(const CodeSpec& spec) {
  const std::vector<float>& table = *spec.table;
  float largest = 0;
  for (const float value : table) largest = std::max(largest, std::abs(value));
  RoundedTable best{};
  double least = std::numeric_limits<double>::infinity();
  for (int top = 127; top >= 96 && largest > 0; --top) {
    const float step = largest / static_cast<float>(top);
    double error = 0;
    for (const float value : table) {
      const double lost = static_cast<double>(std::nearbyint(value / step) * step - value);
      error += lost * lost;
    }
    if (error < least) {
      least = error;
      best.step = step;
    }
  }
  for (std::size_t i = 0; i < 64 && best.step > 0; ++i) {
    best.values[i] = static_cast<std::int8_t>(std::nearbyint(table[i % table.size()] / best.step));
  }
  return best;
}

void prepare_scalar_rows(const KeyKernel& self, const float* queries, int rows, std::byte* prepared) {
  auto& to = *reinterpret_cast<PreparedRows*>(prepared);
  const auto* table = static_cast<const RoundedTable*>(self.tables.get());
  const auto dims = static_cast<std::size_t>(self.spec.head_dim),
             width = static_cast<std::size_t>(kernel_row_width(rows));
  std::memset(to.bytes, 0, dims * width);
  for (std::size_t r = 0; r < kKernelRows; ++r) {
    to.step[r] = 0;
    to.bias[r] = 0;
  }
  for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) {
    const float* query = queries + r * dims;
    float largest = 0;
    for (std::size_t c = 0; c < dims; ++c) largest = std::max(largest, std::abs(query[c]));
    if (!(largest > 1e-30f)) continue;
    const float inverse = 127.0f / largest;
    std::int32_t sum = 0;
    for (std::size_t c = 0; c < dims; ++c) {
      const auto byte = static_cast<std::int8_t>(std::nearbyint(query[c] * inverse));
      to.bytes[(c / 4 * width + r) * 4 + c % 4] = byte;
      sum += byte;
    }
    to.step[r] = largest / 127.0f * table->step;
    to.bias[r] = 128 * sum;
  }
}

KeyKernel scalar_keys(const CodeSpec& spec, KeyKernel::Scores scores) {
  if (scores == nullptr || !has_plane_order(spec.head_dim)) return {};
  return {.prepare = prepare_scalar_rows,
          .scores = scores,
          .spec = spec,
          .prepared_bytes = sizeof(PreparedRows),
          .tables = std::make_shared<const RoundedTable>(round_table(spec))};
}

ValueKernel scalar_values(const CodeSpec& spec, ValueKernel::Add add) {
  if (add == nullptr || !has_plane_order(spec.head_dim)) return {};
  return {.add = add,
          .form = WeightForm::u8,
          .spec = spec,
          .tables = std::make_shared<const RoundedTable>(round_table(spec))};
}

}  // namespace veloxquant
