// Real codes of random vectors in block order, for tests of the block kernels.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "attention/attend.hpp"
#include "attention/attend_blocks.hpp"
#include "attention/attend_run.hpp"
#include "codebook/row_code.hpp"
#include "pack/block_order.hpp"
#include "random_cache.hpp"

namespace veloxquant::test {

// Calls body() at every CPU level that has kernels of the code.
template <class Body>
void on_levels_with_kernels(const CodeSpec& spec, const Body& body) {
  on_every_cpu_level([&](const std::string& level) {
    if (find_key_kernel(spec, AttentionArithmetic::fast).scores == nullptr) return;
    SCOPED_TRACE(level);
    body();
  });
}

// Memory at a multiple of 64 bytes.
class AlignedBytes {
 public:
  explicit AlignedBytes(std::size_t size) : memory_(size + 64) {}
  std::uint8_t* data() {
    const auto at = reinterpret_cast<std::uintptr_t>(memory_.data());
    return memory_.data() + (64 - at % 64) % 64;
  }

 private:
  std::vector<std::uint8_t> memory_;
};

// One side (keys or values) of `blocks` blocks: the vectors, their canonical rows and their blocks.
class CodedSide {
 public:
  CodedSide(const RowCode& code, Role role, int blocks, std::mt19937& random)
      : spec(code.spec()),
        order(block_order(spec, role)),
        packed(order->bytes() * static_cast<std::size_t>(blocks)) {
    const auto tokens = static_cast<std::size_t>(blocks * kBlockTokens),
               dims = static_cast<std::size_t>(spec.head_dim);
    std::normal_distribution<float> normal;
    vectors.resize(tokens * dims);
    codes.resize(tokens * spec.code_bytes());
    scales.resize(tokens * spec.scale_bytes());
    for (float& x : vectors) x = normal(random);
    for (std::size_t t = 0; t < tokens; ++t)
      code.encode(vectors.data() + t * dims, codes.data() + t * spec.code_bytes(),
                  scales.data() + t * spec.scale_bytes());
    for (std::size_t b = 0; b < static_cast<std::size_t>(blocks); ++b) {
      order->pack(codes.data() + b * kBlockTokens * spec.code_bytes(),
                  scales.data() + b * kBlockTokens * spec.scale_bytes(), packed.data() + b * order->bytes());
    }
  }
  // Coordinates of a token as its code has them, without the vector's scale if `unscaled`.
  std::vector<float> decoded(std::size_t token, bool unscaled) const {
    std::vector<float> row(static_cast<std::size_t>(spec.head_dim));
    const std::uint8_t one[2] = {0x00, 0x3c};
    const bool drop = unscaled && spec.has_vector_scale();
    decode_row(spec, codes.data() + token * spec.code_bytes(),
               drop ? one : scales.data() + token * spec.scale_bytes(), row.data());
    return row;
  }

  CodeSpec spec;
  std::unique_ptr<const BlockOrder> order;
  std::vector<float> vectors;
  std::vector<std::uint8_t> codes, scales;
  AlignedBytes packed;
};

// Softmax attention in double precision on the vectors themselves.
inline std::vector<double> attend_exactly(const CodedSide& keys, const CodedSide& values,
                                          const AttendQuery& query) {
  const auto dims = static_cast<std::size_t>(query.head_dim), rows = static_cast<std::size_t>(query.rows);
  const std::size_t tokens = keys.vectors.size() / dims;
  std::vector<double> out(rows * dims), score(tokens);
  for (std::size_t r = 0; r < rows; ++r) {
    double max = -1e300, sum = 0;
    for (std::size_t t = 0; t < tokens; ++t) {
      score[t] = 0;
      for (std::size_t c = 0; c < dims; ++c)
        score[t] += static_cast<double>(query.queries[r * dims + c]) *
                    static_cast<double>(keys.vectors[t * dims + c]);
      score[t] *= static_cast<double>(query.scale);
      max = std::max(max, score[t]);
    }
    for (std::size_t t = 0; t < tokens; ++t) {
      const double weight = std::exp(score[t] - max);
      sum += weight;
      for (std::size_t c = 0; c < dims; ++c)
        out[r * dims + c] += weight * static_cast<double>(values.vectors[t * dims + c]);
    }
    for (std::size_t c = 0; c < dims; ++c) out[r * dims + c] /= sum;
  }
  return out;
}

// The output of attention on blocks, and of the double-precision reference on the same codes.
struct Outputs {
  std::vector<double> ours, reference;
};

inline Outputs attend_both(const CodedSide& keys, const CodedSide& values, const AttendQuery& query,
                           AttentionArithmetic arithmetic) {
  const std::size_t dims = values.decoded(0, true).size(), rows = static_cast<std::size_t>(query.rows),
                    blocks = keys.vectors.size() / (dims * kBlockTokens);
  std::vector<TokenRun> runs;
  std::vector<const std::uint8_t*> pages;
  std::vector<std::unique_ptr<AlignedBytes>> memory;
  for (std::size_t b = 0; b < blocks; ++b) {
    const std::size_t first = b * kBlockTokens;
    runs.push_back({.key_codes = keys.codes.data() + first * keys.spec.code_bytes(),
                    .key_scales = keys.scales.data() + first * keys.spec.scale_bytes(),
                    .value_codes = values.codes.data() + first * values.spec.code_bytes(),
                    .value_scales = values.scales.data() + first * values.spec.scale_bytes(),
                    .first = static_cast<std::int64_t>(first),
                    .count = kBlockTokens});
    memory.push_back(std::make_unique<AlignedBytes>(keys.order->bytes() + values.order->bytes()));
    std::uint8_t* page = memory.back()->data();
    keys.order->pack(runs.back().key_codes, runs.back().key_scales, page);
    values.order->pack(runs.back().value_codes, runs.back().value_scales, page + keys.order->bytes());
    pages.push_back(page);
  }
  std::vector<float> max(rows), sum(rows), out(rows * dims);
  AttendScratch scratch;
  attend_blocks(find_key_kernel(keys.spec, arithmetic), find_value_kernel(values.spec, arithmetic),
                {.pages = pages.data(),
                 .keys = 0,
                 .values = keys.order->bytes(),
                 .count = static_cast<int>(blocks),
                 .first = 0},
                query, {max.data(), sum.data(), out.data()}, scratch);
  Outputs outputs{std::vector<double>(out.size()), std::vector<double>(out.size())};
  for (std::size_t i = 0; i < out.size(); ++i)
    outputs.ours[i] =
        sum[i / dims] > 0 ? static_cast<double>(out[i]) / static_cast<double>(sum[i / dims]) : 0;
  attend_reference(keys.spec, values.spec, runs, query, outputs.reference.data());
  return outputs;
}

inline double squared_distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

// Output errors of a fast pair of kernels: against the double reference on the same codes, as a share of what
// the codes themselves lose against attention on the vectors.
inline double error_share(const RowCode& key_code, const RowCode& value_code, int rows, int blocks,
                          float sharpness, std::mt19937& random) {
  const CodedSide keys(key_code, Role::keys, blocks, random),
      values(value_code, Role::values, blocks, random);
  const RandomQueries queries(rows, keys.spec.head_dim, blocks * kBlockTokens, Visibility::all, 1, random);
  AttendQuery query = queries.query(false);
  query.scale *= sharpness;
  const Outputs outputs = attend_both(keys, values, query, AttentionArithmetic::fast);
  return squared_distance(outputs.ours, outputs.reference) /
         squared_distance(outputs.reference, attend_exactly(keys, values, query));
}

// Squared error of a block's scores, relative to their squares, against the definition: random queries, the
// whole block at once for an even number of rows, in two parts for an odd one.
inline double score_error(CodedSide& side, const KeyKernel& kernel, int rows, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> queries(static_cast<std::size_t>(rows * side.spec.head_dim));
  for (float& x : queries) x = normal(random);
  AlignedBytes prepared(kernel.prepared_bytes), scores(8 * 64 * 4);
  kernel.prepare(kernel, queries.data(), static_cast<std::size_t>(side.spec.head_dim), rows,
                 reinterpret_cast<std::byte*>(prepared.data()));
  auto* got = reinterpret_cast<float*>(scores.data());
  const auto* ready = reinterpret_cast<const std::byte*>(prepared.data());
  const std::uint8_t* block = side.packed.data();
  if (rows % 2 == 0) {
    kernel.scores(kernel, ready, rows, block, nullptr, 0, 4, got);
  } else {
    kernel.scores(kernel, ready, rows, block, block, 0, 3, got);
    kernel.scores(kernel, ready, rows, block, nullptr, 3, 1, got);
  }
  double error = 0, size = 0;
  for (std::size_t t = 0; t < kBlockTokens; ++t) {
    const std::vector<float> key = side.decoded(t, true);
    for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) {
      double sum = 0;
      for (std::size_t c = 0; c < key.size(); ++c)
        sum += static_cast<double>(queries[r * key.size() + c]) * static_cast<double>(key[c]);
      error += std::pow(sum - static_cast<double>(got[r * 64 + t]), 2);
      size += sum * sum;
    }
  }
  return error / size;
}

// Squared error of a block's sums, relative to the squares of what was added, against the definition: random
// weights in the kernel's form, added to ones.
inline double sum_error(CodedSide& side, const ValueKernel& kernel, int rows, std::mt19937& random) {
  const auto dims = static_cast<std::size_t>(side.spec.head_dim);
  const std::size_t stride = padded_row(side.spec.head_dim);
  constexpr std::size_t kNumbers = 8 * kBlockTokens;
  AlignedBytes f32(4 * kNumbers), high(kNumbers), low(kNumbers), sums(8 * 4 * stride);
  std::uniform_real_distribution<float> uniform;
  auto* weights = reinterpret_cast<float*>(f32.data());
  for (std::size_t i = 0; i < kNumbers; ++i) {
    weights[i] = uniform(random);
    high.data()[i] = static_cast<std::uint8_t>(random());
    low.data()[i] = static_cast<std::uint8_t>(random());
  }
  float step[8];
  for (float& x : step) x = kernel.form == WeightForm::f32 ? 1 : 1e-3f * static_cast<float>(1 + random() % 9);
  auto* got = reinterpret_cast<float*>(sums.data());
  std::fill(got, got + 8 * stride, 1.0f);
  kernel.add(kernel, {.f32 = weights, .u8 = high.data(), .low = low.data(), .step = step}, rows,
             side.packed.data(), side.packed.data(), got);
  const auto number = [&](std::size_t i) -> double {
    switch (kernel.form) {
      case WeightForm::f32:
        return static_cast<double>(weights[i]);
      case WeightForm::u8:
        return high.data()[i];
      default:
        return 256.0 * high.data()[i] + low.data()[i];
    }
  };
  std::vector<std::vector<float>> decoded;
  for (std::size_t t = 0; t < kBlockTokens; ++t) decoded.push_back(side.decoded(t, true));
  double error = 0, size = 0;
  for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) {
    for (std::size_t i = 0; i < dims; ++i) {
      const std::size_t dim = kernel.order.empty() ? i : kernel.order[i];
      double sum = 1;
      for (std::size_t t = 0; t < kBlockTokens; ++t)
        sum += static_cast<double>(step[r]) * number(r * kBlockTokens + t) *
               static_cast<double>(decoded[t][dim]);
      error += std::pow(sum - static_cast<double>(got[r * stride + i]), 2);
      size += (sum - 1) * (sum - 1);
    }
  }
  return error / size;
}

}  // namespace veloxquant::test
