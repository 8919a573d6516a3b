// Scalar codes of 1 to 4 bits as bytes in the registers of a level, `Lanes` (lanes_avx2.hpp, lanes_neon.hpp):
// the inner loops of AVX2 and of NEON with dot products.
//
// A look-up is a byte shuffle of the table's 16 entries. Products of four neighbours are added to 32 bits,
// where lanes are tokens (keys) or dimensions (values), as in the kernels of AVX-512. Sums of some rows x
// parts of a line stay in registers. Where both factors must be unsigned, or one of them, a bias makes the
// table so, and sums begin with what it adds too much.
#pragma once

#include <algorithm>
#include <utility>

#include "attention/block_rows.hpp"
#include "attention/kernel_inline.hpp"
#include "attention/plane_fields.hpp"
#include "attention/scalar_blocks.hpp"

namespace veloxquant {

template <class Lanes>
constexpr int parts_at_once(int rows) {
  return std::min(kLineParts<Lanes>, Lanes::kSums / rows);
}

// ---- keys: `Parts` parts of token group Group ----

template <class Lanes, int Bits, int Rows, int Parts, int Group>
VELOXQUANT_INLINE void score_parts(const RoundedTable& table, const PreparedRows& query, int head_dim,
                                   const std::uint8_t* block, int first, int rows, float* scores) {
  constexpr std::size_t kUnit = 64 * Bits;  // bytes of 8 dimensions
  const auto entries = Lanes::table(table.values, Lanes::kKeyBias);
  typename Lanes::Sums sums[Rows][Parts];
  for (int r = 0; r < Rows; ++r) {
    for (int p = 0; p < Parts; ++p) sums[r][p] = Lanes::fill_sums(Lanes::kKeyBias == 0 ? 0 : -query.bias[r]);
  }
  const std::int8_t* bytes = query.bytes;
  for (int dim = 0; dim < head_dim; dim += 8, block += kUnit) {
    const auto quad = [&]<int Q>() __attribute__((always_inline)) {
      typename Lanes::Bytes codes[Parts];
      for (int p = 0; p < Parts; ++p)
        codes[p] = Lanes::look_up(entries, key_indices<Lanes, Bits, 4 * Q + Group>(block, first + p));
      for (int r = 0; r < Rows; ++r, bytes += 4) {
        const auto four = Lanes::broadcast4(bytes);
        for (int p = 0; p < Parts; ++p) sums[r][p] = Lanes::add_key_products(sums[r][p], codes[p], four);
      }
    };
    quad.template operator()<0>();
    quad.template operator()<1>();
  }
  for (int r = 0; r < Rows && r < rows; ++r) {
    for (int p = 0; p < Parts; ++p)
      Lanes::store(scores + r * kBlockTokens + 16 * Group + Lanes::kBytes / 4 * (first + p), sums[r][p],
                   query.step[r]);
  }
}

template <class Lanes, int Bits, int Rows, int Group>
void score_group(const KeyKernel& self, const PreparedRows& query, int rows, const std::uint8_t* block,
                 float* scores) {
  constexpr int kParts = parts_at_once<Lanes>(Rows);
  const auto& table = *static_cast<const RoundedTable*>(self.tables.get());
  for (int first = 0; first < kLineParts<Lanes>; first += kParts) {
    score_parts<Lanes, Bits, Rows, kParts, Group>(table, query, self.spec.head_dim, block, first, rows,
                                                  scores);
  }
}

template <class Lanes, int Bits>
void score_block(const KeyKernel& self, const std::byte* prepared, int rows, const std::uint8_t* block,
                 const std::uint8_t* ahead, int first_group, int groups, float* scores) {
  const auto& query = *reinterpret_cast<const PreparedRows*>(prepared);
  const std::size_t share = kBlockTokens / 4 * self.spec.code_bytes();  // of what is ahead, for a group
  with_row_width(rows, [&]<int Rows>() {
    constexpr decltype(&score_group<Lanes, Bits, Rows, 0>) kByGroup[] = {
        score_group<Lanes, Bits, Rows, 0>, score_group<Lanes, Bits, Rows, 1>,
        score_group<Lanes, Bits, Rows, 2>, score_group<Lanes, Bits, Rows, 3>};
    for (int g = first_group; g < first_group + groups; ++g) {
      if (ahead != nullptr) Lanes::prefetch(ahead + share * static_cast<std::size_t>(g), share);
      kByGroup[g](self, query, rows, block, scores);
    }
  });
}

// ---- values: `Parts` parts of a unit of 16 dimensions ----

// What the bias of the table adds too much to the sums of each row.
template <class Lanes>
VELOXQUANT_INLINE void find_value_bias(const BlockWeights& weights, int rows, std::int32_t* bias) {
  for (int r = 0; r < rows; ++r) {
    std::int32_t sum = 0;
    for (int t = 0; t < kBlockTokens && Lanes::kValueBias != 0; ++t) sum += weights.u8[r * kBlockTokens + t];
    bias[r] = Lanes::kValueBias * sum;
  }
}

template <class Lanes, int Bits, int Rows, int Parts>
VELOXQUANT_INLINE void add_parts(const RoundedTable& table, const BlockWeights& weights,
                                 const std::int32_t* bias, int rows, const std::uint8_t* unit, int first,
                                 std::size_t stride, float* sums) {
  const auto values = Lanes::table(table.values, Lanes::kValueBias);
  typename Lanes::Sums part[Rows][Parts];
  for (int r = 0; r < Rows; ++r) {
    for (int p = 0; p < Parts; ++p) part[r][p] = Lanes::fill_sums(Lanes::kValueBias == 0 ? 0 : -bias[r]);
  }
  constexpr int kQuads = value_step_quads(Bits);
  const std::uint8_t* four_weights = weights.u8;
  for (int step = 0; step < 16 / kQuads; ++step) {
    const auto quad = [&]<int Q>() __attribute__((always_inline)) {
      typename Lanes::Bytes codes[Parts];
      for (int p = 0; p < Parts; ++p)
        codes[p] = Lanes::look_up(values, value_indices<Lanes, Bits, Q>(unit, step, first + p));
      for (int r = 0; r < Rows; ++r) {
        const auto four = Lanes::broadcast4(four_weights + r * kBlockTokens);
        for (int p = 0; p < Parts; ++p) part[r][p] = Lanes::add_value_products(part[r][p], codes[p], four);
      }
      four_weights += 4;
    };
    [&]<int... Q>(std::integer_sequence<int, Q...>) __attribute__((always_inline)) {
      (quad.template operator()<Q>(), ...);
    }(std::make_integer_sequence<int, kQuads>());
  }
  for (int r = 0; r < Rows && r < rows; ++r) {
    float* row = sums + static_cast<std::size_t>(r) * stride;
    for (int p = 0; p < Parts; ++p)
      Lanes::add(row + Lanes::kBytes / 4 * (first + p), part[r][p], weights.step[r] * table.step);
  }
}

template <class Lanes, int Bits>
void add_block(const ValueKernel& self, const BlockWeights& weights, int rows, const std::uint8_t* block,
               const std::uint8_t* ahead, float* sums) {
  constexpr std::size_t kUnit = 128 * Bits;  // bytes of 16 dimensions
  const auto& table = *static_cast<const RoundedTable*>(self.tables.get());
  const std::size_t stride = sum_stride(self);
  std::int32_t bias[kKernelRows];
  find_value_bias<Lanes>(weights, kernel_row_width(rows), bias);
  with_row_width(rows, [&]<int Rows>() {
    constexpr int kParts = parts_at_once<Lanes>(Rows);
    for (int dim = 0; dim < self.spec.head_dim; dim += 16, block += kUnit, sums += 16) {
      if (ahead != nullptr) {
        Lanes::prefetch(ahead, kUnit);
        ahead += kUnit;
      }
      for (int first = 0; first < kLineParts<Lanes>; first += kParts)
        add_parts<Lanes, Bits, Rows, kParts>(table, weights, bias, rows, block, first, stride, sums);
    }
  });
}

// The inner loops for a width, null for those above 4 bits.
template <class Lanes>
KeyKernel::Scores scalar_scores(int bits) noexcept {
  constexpr KeyKernel::Scores by_bits[] = {score_block<Lanes, 1>, score_block<Lanes, 2>,
                                           score_block<Lanes, 3>, score_block<Lanes, 4>};
  return bits <= 4 ? by_bits[bits - 1] : nullptr;
}

template <class Lanes>
ValueKernel::Add scalar_add(int bits) noexcept {
  constexpr ValueKernel::Add by_bits[] = {add_block<Lanes, 1>, add_block<Lanes, 2>, add_block<Lanes, 3>,
                                          add_block<Lanes, 4>};
  return bits <= 4 ? by_bits[bits - 1] : nullptr;
}

}  // namespace veloxquant
