#include "attention/scalar_words.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "attention/block_rows.hpp"
#include "pack/plane_order.hpp"

namespace veloxquant {
namespace {

static_assert(std::int64_t{kQuerySum} * kTableTop < (std::int64_t{1} << 31));
static_assert(std::int64_t{64} * kWeightTop * kTableTop < (std::int64_t{1} << 31));

KernelTables round_words(const CodeSpec& spec) {
  const std::vector<float>& table = *spec.table;
  float largest = 0;
  for (const float value : table) largest = std::max(largest, std::abs(value));
  auto rounded = std::make_shared<WordTable>();
  rounded->step = largest / kTableTop;
  for (std::size_t i = 0; i < 256; ++i) {
    const float value = table[i % table.size()];
    rounded->words[i] = static_cast<std::int16_t>(largest > 0 ? std::nearbyint(value / rounded->step) : 0.0f);
  }
  return rounded;
}

void prepare_words(const KeyKernel& self, const float* queries, std::size_t stride, int rows,
                   std::byte* prepared) {
  const auto& table = *static_cast<const WordTable*>(self.tables.get());
  const auto dims = static_cast<std::size_t>(self.spec.head_dim),
             width = static_cast<std::size_t>(kernel_row_width(rows));
  auto& head = *reinterpret_cast<WordQueryHead*>(prepared);
  auto* words = reinterpret_cast<std::int16_t*>(prepared + sizeof(WordQueryHead));
  std::memset(prepared, 0, sizeof(WordQueryHead) + dims * width * sizeof(std::int16_t));
  for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) {
    const float* query = queries + r * stride;
    float largest = 0, sum = 0;
    for (std::size_t c = 0; c < dims; ++c) {
      largest = std::max(largest, std::abs(query[c]));
      sum += std::abs(query[c]);
    }
    if (!(largest > 1e-30f)) continue;
    // Rounding adds up to 1/2 to each magnitude.
    const float scale = std::min(32767.0f / largest, (kQuerySum - static_cast<float>(dims)) / sum);
    for (std::size_t c = 0; c < dims; ++c)
      words[query_word_place(c, r, width)] = static_cast<std::int16_t>(nearest(query[c] * scale));
    head.step[r] = table.step / scale;
  }
}

}  // namespace

KeyKernel scalar_word_keys(const CodeSpec& spec, KeyKernel::Scores scores) {
  if (scores == nullptr || !has_plane_order(spec.head_dim, Role::keys)) return {};
  const std::size_t words = static_cast<std::size_t>(spec.head_dim * kKernelRows);
  return {.prepare = prepare_words,
          .scores = scores,
          .spec = spec,
          .prepared_bytes = sizeof(WordQueryHead) + words * sizeof(std::int16_t),
          .tables = round_words(spec)};
}

ValueKernel scalar_word_values(const CodeSpec& spec, ValueKernel::Add add) {
  if (add == nullptr || !has_plane_order(spec.head_dim, Role::values)) return {};
  return {.add = add, .form = WeightForm::u16, .spec = spec, .tables = round_words(spec)};
}

}  // namespace veloxquant
