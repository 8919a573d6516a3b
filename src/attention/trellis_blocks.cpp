#include "attention/trellis_blocks.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "attention/block_rows.hpp"
#include "pack/word_order.hpp"

namespace veloxquant {
namespace {

// The byte of a positive or negative value; odd about -1/2 wherever `value` is not a whole number of steps.
float rounded(float value, float step) { return std::clamp(std::floor(value / step) + 128.0f, 0.0f, 255.0f); }

// The dimensions of the bytes of the windows, in the order in which the key kernel comes to them.
std::vector<std::uint16_t> key_dims(int bits, int head_dim) {
  std::vector<std::uint16_t> dims;
  const int per_step = 4 * key_step_quads(bits);
  for (int begin = 0; begin < head_dim; begin += per_step) {
    for (int quad = 0; quad < per_step / 4; ++quad) {
      for (int k = 0; k < 4; ++k) {
        const int dim = begin + (bits == 3 ? 4 * quad + k : 8 / bits * k + quad);
        dims.push_back(static_cast<std::uint16_t>(std::min(dim, head_dim)));
      }
    }
  }
  return dims;
}

// The dimensions of the lanes of the sums, in the order in which the value kernel comes to them; empty for
// quads, whose order is their own.
std::vector<std::uint16_t> value_dims(const CodeSpec& spec) {
  const int bits = spec.bits, head_dim = spec.head_dim;
  std::vector<std::uint16_t> dims;
  if (spec.is_part() || !has_whole_words(head_dim, bits, Role::values)) return dims;
  const int lines = head_dim * bits / 128, per_step = 16 * value_step_lines(bits) / bits;
  for (int line = 0; line < lines; line += value_step_lines(bits)) {
    for (int pair = 0; pair < value_step_pairs(bits); ++pair) {
      for (int lane = 0; lane < 16; ++lane) {
        const int steps = (lane / 2 * lines + line) / value_step_lines(bits);
        dims.push_back(static_cast<std::uint16_t>(per_step * steps + 2 * pair + lane % 2));
      }
    }
  }
  return dims;
}

KernelTables tables_of(const CodeSpec& spec, std::vector<std::uint16_t> dims) {
  TrellisBytes table = round_trellis_table(spec);
  table.dims = std::move(dims);
  table.behind = static_cast<std::ptrdiff_t>(kBlockTokens) * spec.behind.offset;
  table.behind_bytes = spec.is_part() ? spec.behind.bytes : spec.code_bytes();
  return std::make_shared<const TrellisBytes>(std::move(table));
}

}  // namespace

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

namespace {

// The queries' bytes (high ones, then low ones, if wide) or words, in the order of the windows.
template <Operands Form>
void prepare_queries(const KeyKernel& self, const float* queries, std::size_t stride, int rows,
                     std::byte* prepared) {
  constexpr bool kWords = Form == Operands::words;
  const auto& table = *static_cast<const TrellisBytes*>(self.tables.get());
  const auto dims = static_cast<std::size_t>(self.spec.head_dim),
             width = static_cast<std::size_t>(kernel_row_width(rows));
  const bool wide = trellis_is_wide(self.spec.bits);
  const float top = kWords ? static_cast<float>(kWordTop) : wide ? 127.0f * 256.0f : 127.0f;
  auto& head = *reinterpret_cast<TrellisQueryHead*>(prepared);
  auto* words = reinterpret_cast<std::int16_t*>(prepared + sizeof(TrellisQueryHead));
  auto* high = reinterpret_cast<std::int8_t*>(words);
  std::int8_t* low = high + table.dims.size() * width;
  std::memset(prepared, 0, sizeof(TrellisQueryHead) + table.dims.size() * width * (kWords || wide ? 2 : 1));
  for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) {
    const float* query = queries + r * stride;
    const float largest = largest_magnitude(query, dims), inverse = top / largest;
    if (!(largest > 1e-30f)) continue;
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < table.dims.size(); ++i) {
      const std::size_t dim = table.dims[i];
      const std::int32_t whole = dim < dims ? nearest(query[dim] * inverse) : 0;
      sum += whole;
      if constexpr (kWords) {
        words[query_word_place(i, r, width)] = static_cast<std::int16_t>(whole);
      } else {
        const std::size_t at = (i / 4 * width + r) * 4 + i % 4;
        const std::int32_t above = wide ? (whole + 128) >> 8 : whole;
        high[at] = static_cast<std::int8_t>(above);
        if (wide) low[at] = static_cast<std::int8_t>(whole - 256 * above);
      }
    }
    head.step[r] = largest / top * table.step;
    head.bias[r] = 127.5f * static_cast<float>(sum);
  }
}

// A look-up without VBMI and products of words cost as much as a tile's.
int most_rows(Operands operands) {
  return operands == Operands::words ? kRowsBeforeTiles : std::numeric_limits<int>::max();
}

}  // namespace

KeyKernel trellis_keys(const CodeSpec& spec, KeyKernel::Scores scores, Operands operands) {
  if (scores == nullptr || spec.head_dim > kMostTrellisDims || !has_word_order(spec.head_dim) ||
      !has_odd_table(spec))
    return {};
  const bool words = operands == Operands::words;
  std::vector<std::uint16_t> dims = key_dims(spec.bits, spec.head_dim);
  const std::size_t numbers = dims.size() * kKernelRows,
                    bytes = numbers * (words || trellis_is_wide(spec.bits) ? 2 : 1);
  return {.prepare = words ? prepare_queries<Operands::words> : prepare_queries<Operands::bytes>,
          .scores = scores,
          .spec = spec,
          .prepared_bytes = (sizeof(TrellisQueryHead) + bytes + 63) / 64 * 64,
          .tables = tables_of(spec, std::move(dims)),
          .most_rows = most_rows(operands)};
}

ValueKernel trellis_values(const CodeSpec& spec, ValueKernel::Add add, Operands operands) {
  if (add == nullptr || !has_word_order(spec.head_dim) || !has_odd_table(spec)) return {};
  std::vector<std::uint16_t> dims = value_dims(spec);
  return {.add = add,
          .form = trellis_is_wide(spec.bits) ? WeightForm::u16 : WeightForm::u8,
          .spec = spec,
          .tables = tables_of(spec, dims),
          .order = dims,
          .most_rows = most_rows(operands)};
}

}  // namespace veloxquant
