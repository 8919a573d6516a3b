#include "attention/affine_blocks.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "attention/block_rows.hpp"
#include "pack/plane_order.hpp"

namespace veloxquant {

namespace {

template <Operands Form>
void prepare_rows(const KeyKernel& self, const float* queries, std::size_t stride, int rows,
                  std::byte* prepared) {
  const auto dims = static_cast<std::size_t>(self.spec.head_dim),
             group = static_cast<std::size_t>(self.spec.group);
  const auto width = static_cast<std::size_t>(kernel_row_width(rows));
  auto& head = *reinterpret_cast<AffineQueryHead*>(prepared);
  auto* high = reinterpret_cast<std::int8_t*>(prepared + sizeof(AffineQueryHead));
  std::int8_t* low = high + dims * width;
  auto* words = reinterpret_cast<std::int16_t*>(prepared + sizeof(AffineQueryHead));
  std::memset(prepared, 0, sizeof(AffineQueryHead) + 2 * dims * width);
  for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) {
    const float* query = queries + r * stride;
    const float largest = largest_magnitude(query, dims);
    if (!(largest > 1e-30f)) continue;
    const float inverse = kAffineTop / largest;
    head.step[r] = largest / kAffineTop;
    for (std::size_t c = 0; c < dims; ++c) {
      const int whole = nearest(query[c] * inverse), upper = (whole + 128) >> 8;
      if constexpr (Form == Operands::words) {
        words[query_word_place(c, r, width)] = static_cast<std::int16_t>(whole);
      } else {
        const std::size_t at = (c / 4 * width + r) * 4 + c % 4;
        high[at] = static_cast<std::int8_t>(upper);
        low[at] = static_cast<std::int8_t>(whole - 256 * upper);
      }
      head.group_sum[c / group][r] += static_cast<float>(whole) * head.step[r];
    }
  }
}

}  // namespace

KeyKernel affine_keys(const CodeSpec& spec, KeyKernel::Scores scores, Operands operands) {
  if (scores == nullptr || !has_group_order(spec)) return {};
  const bool words = operands == Operands::words;
  if (words && spec.group > kMostWordGroup) return {};
  const std::size_t bytes =
      sizeof(AffineQueryHead) + static_cast<std::size_t>(2 * spec.head_dim * kKernelRows);
  return {.prepare = words ? prepare_rows<Operands::words> : prepare_rows<Operands::bytes>,
          .scores = scores,
          .spec = spec,
          .prepared_bytes = (bytes + 63) / 64 * 64,
          .tables = nullptr};
}

ValueKernel affine_values(const CodeSpec& spec, ValueKernel::Add add) {
  if (add == nullptr || !has_group_order(spec)) return {};
  return {.add = add, .form = WeightForm::f32, .spec = spec, .tables = nullptr};
}

}  // namespace veloxquant
