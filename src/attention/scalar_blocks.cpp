#include "attention/scalar_blocks.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "pack/plane_order.hpp"

namespace veloxquant {

RoundedTable round_table(const CodeSpec& spec, int limit) {
  const std::vector<float>& table = *spec.table;
  float largest = 0;
  for (const float value : table) largest = std::max(largest, std::abs(value));
  RoundedTable best{};
  double least = std::numeric_limits<double>::infinity();
  for (int top = 4 * limit; top >= 3 * limit && largest > 0; --top) {
    const float step = 4.0f * largest / static_cast<float>(top);
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

namespace {

// Half the largest |q| + |q'| of neighbours.
float largest_pair(const float* query, std::size_t dims) {
  float largest[2] = {};
  for (std::size_t c = 0; c < dims; c += 4) {
    for (std::size_t k = 0; k < 2; ++k) {
      const float pair = std::abs(query[c + 2 * k]) + std::abs(query[c + 2 * k + 1]);
      largest[k] = std::max(largest[k], pair / 2);
    }
  }
  return std::max(largest[0], largest[1]);
}

template <ProductSums Sums>
void prepare_bytes(const KeyKernel& self, const float* queries, std::size_t stride, int rows,
                   std::byte* prepared) {
  constexpr bool kPairs = Sums == ProductSums::of_two;
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
    const float* query = queries + r * stride;
    const float size = kPairs ? largest_pair(query, dims) : largest_magnitude(query, dims);
    if (!(size > 1e-30f)) continue;
    // Two neighbours come to 127 before they are rounded, which adds at most 1.
    constexpr float kTop = kPairs ? 63.5f : 127.0f;
    const float inverse = kTop / size;
    std::int32_t sum = 0;
    for (std::size_t c = 0; c < dims; c += 4) {
      std::int8_t* quad = to.bytes + (c / 4 * width + r) * 4;
      for (std::size_t k = 0; k < 4; ++k) {
        quad[k] = static_cast<std::int8_t>(nearest(query[c + k] * inverse));
        sum += quad[k];
      }
    }
    to.step[r] = size / kTop * table->step;
    to.bias[r] = 128 * sum;
  }
}

}  // namespace

KeyKernel scalar_keys(const CodeSpec& spec, KeyKernel::Scores scores, ProductSums sums) {
  if (scores == nullptr || !has_plane_order(spec.head_dim, Role::keys)) return {};
  return {.prepare = sums == ProductSums::of_two ? prepare_bytes<ProductSums::of_two>
                                                 : prepare_bytes<ProductSums::of_four>,
          .scores = scores,
          .spec = spec,
          .prepared_bytes = sizeof(PreparedRows),
          .tables = std::make_shared<const RoundedTable>(round_table(spec, 127))};
}

ValueKernel scalar_values(const CodeSpec& spec, ValueKernel::Add add, ProductSums sums) {
  if (add == nullptr || !has_plane_order(spec.head_dim, Role::values)) return {};
  return {.add = add,
          .form = WeightForm::u8,
          .spec = spec,
          .tables = std::make_shared<const RoundedTable>(
              round_table(spec, sums == ProductSums::of_two ? 64 : 127))};
}

}  // namespace veloxquant
