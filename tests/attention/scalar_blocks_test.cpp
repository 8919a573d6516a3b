#include "attention/scalar_blocks.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "coded_blocks.hpp"

namespace veloxquant {
namespace {

using test::CodedSide;

constexpr int kHeadDims[] = {16, 64, 80, 112, 128, 192, 256};

// Errors of roundings alone, to bytes or to words: a wrong code would be as large as the values themselves.
double small(int bits) { return bits <= 4 ? 4e-4 : 1e-6; }

TEST(ScalarBlocks, RoundedTableIsCloseAndWithinItsLimit) {
  for (int bits = 1; bits <= 4; ++bits) {
    const CodeSpec spec = make_scalar_code(bits, 64, ScaleMode::one)->spec();
    for (const int limit : {64, 127}) {
      const RoundedTable table = round_table(spec, limit);
      for (std::size_t i = 0; i < 64; ++i) {
        EXPECT_LE(std::abs(table.values[i]), limit);
        EXPECT_NEAR(table.step * table.values[i], (*spec.table)[i % spec.table->size()], 0.51f * table.step);
      }
    }
  }
}

TEST(ScalarBlocks, ScoresFollowTheDefinition) {
  std::mt19937 random(1);
  for (int bits = 1; bits <= 8; ++bits) {
    for (const int dims : kHeadDims) {
      CodedSide side(*make_scalar_code(bits, dims, ScaleMode::one), Role::keys, 1, random);
      test::on_levels_with_kernels(side.spec, [&] {
        const KeyKernel kernel = find_key_kernel(side.spec, AttentionArithmetic::fast);
        for (int rows = 1; rows <= kKernelRows; ++rows) {
          EXPECT_LT(test::score_error(side, kernel, rows, random), small(bits))
              << dims << " dims, " << bits << " bits, " << rows << " rows";
        }
      });
    }
  }
}

TEST(ScalarBlocks, SumsFollowTheDefinition) {
  std::mt19937 random(2);
  for (int bits = 1; bits <= 8; ++bits) {
    for (const int dims : kHeadDims) {
      CodedSide side(*make_scalar_code(bits, dims, ScaleMode::one), Role::values, 1, random);
      test::on_levels_with_kernels(side.spec, [&] {
        const ValueKernel kernel = find_value_kernel(side.spec, AttentionArithmetic::fast);
        for (int rows = 1; rows <= kKernelRows; ++rows) {
          EXPECT_LT(test::sum_error(side, kernel, rows, random), small(bits))
              << dims << " dims, " << bits << " bits, " << rows << " rows";
        }
      });
    }
  }
}

// The largest products there are, which sums of 16 or 32 bits must not clip: all queries alike and all codes
// at the table's end.
TEST(ScalarBlocks, LargestProductsAreNotClipped) {
  std::mt19937 random(3);
  for (int bits = 1; bits <= 8; ++bits) {
    const int dims = 256;
    CodedSide side(*make_scalar_code(bits, dims, ScaleMode::one), Role::keys, 1, random);
    std::fill(side.codes.begin(), side.codes.end(), std::uint8_t{0xff});
    side.order->pack(side.codes.data(), side.scales.data(), side.packed.data());
    CodedSide values(*make_scalar_code(bits, dims, ScaleMode::one), Role::values, 1, random);
    values.order->pack(side.codes.data(), side.scales.data(), values.packed.data());
    const double end = static_cast<double>(side.spec.table->back());
    test::on_levels_with_kernels(side.spec, [&] {
      const KeyKernel keys = find_key_kernel(side.spec, AttentionArithmetic::fast);
      const std::vector<float> queries(dims, -1.0f);
      test::AlignedBytes prepared(keys.prepared_bytes), scores(8 * 64 * 4);
      auto* ready = reinterpret_cast<std::byte*>(prepared.data());
      auto* score = reinterpret_cast<float*>(scores.data());
      keys.prepare(keys, queries.data(), queries.size(), 1, ready);
      keys.scores(keys, ready, 1, side.packed.data(), nullptr, 0, 4, score);
      for (int t = 0; t < kBlockTokens; ++t) EXPECT_NEAR(score[t], -dims * end, 0.02 * dims * end) << bits;

      const ValueKernel adder = find_value_kernel(side.spec, AttentionArithmetic::fast);
      test::AlignedBytes weights(8 * 64), sums(8 * dims * 4);
      std::fill(weights.data(), weights.data() + 8 * 64, std::uint8_t{255});
      auto* sum = reinterpret_cast<float*>(sums.data());
      std::fill(sum, sum + 8 * dims, 0.0f);
      const std::vector<float> step(8, 1.0f);
      adder.add(adder, {.u8 = weights.data(), .low = weights.data(), .step = step.data()}, 1,
                values.packed.data(), nullptr, sum);
      const double weight = adder.form == WeightForm::u16 ? 65535 : 255;
      for (int c = 0; c < dims; ++c) EXPECT_NEAR(sum[c] / (64 * weight), end, 0.02 * end) << bits;
    });
  }
}

}  // namespace
}  // namespace veloxquant
