#include "attention/trellis_blocks.hpp"

#include <gtest/gtest.h>

#include <veloxquant/core/cpu.hpp>

#include "coded_blocks.hpp"
#include "pack/word_order.hpp"

namespace veloxquant {
namespace {

using test::CodedSide;

// Whole words and lines, and strings that are none (runs of mixed codes).
constexpr int kHeadDims[] = {16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 112, 128, 144, 256};

// Calls body() at every CPU level that has kernels of these codes.
template <class Body>
void on_levels_with_kernels(const Body& body) {
  test::on_levels_with_kernels(make_trellis_code(2, 128, ScaleMode::one)->spec(), body);
}

TEST(WordOrder, GivesBackEveryRowAndWritesWordsWhereItSays) {
  std::mt19937 random(1);
  for (const Role role : {Role::keys, Role::values}) {
    for (const int dims : kHeadDims) {
      for (int bits = 1; bits <= 4; ++bits) {
        if (!has_word_order(dims)) continue;
        const auto code = make_trellis_code(bits, dims, ScaleMode::one);
        CodedSide side(*code, role, 1, random);
        const std::size_t bytes = side.spec.code_bytes();
        std::vector<std::uint8_t> codes(11 * bytes), scales(11 * 2);
        side.order->unpack(side.packed.data(), 7, 11, codes.data(), scales.data());
        EXPECT_EQ(std::memcmp(codes.data(), side.codes.data() + 7 * bytes, codes.size()), 0);
        EXPECT_EQ(std::memcmp(scales.data(), side.scales.data() + 7 * 2, scales.size()), 0);
        if (!has_whole_words(dims, bits, role) || bytes < 8) continue;
        // Bytes of word 1 of token 5 (keys), of half 1 of token 6 (values), from the header's drawing.
        const std::size_t lines = bytes / 16;
        const std::uint8_t* placed = side.packed.data() + (role == Role::keys ? 4 * (64 + 5)
                                                           : lines > 1        ? 64 * (16 + 1) + 2 * 2
                                                                              : 64 + 8 + 2 * 2);
        const std::uint8_t* row = side.codes.data() + (role == Role::keys ? 5 * bytes + 4 : 6 * bytes + 2);
        EXPECT_EQ(std::memcmp(placed, row, role == Role::keys ? 4 : 2), 0);
      }
    }
  }
}

TEST(WordOrder, WritesBytesBehindWordsAndBytesOfQuadsWhereItSays) {
  std::mt19937 random(11);
  // 40 dimensions of 3 bits are 15 bytes: three words and three bytes.
  CodedSide keys(*make_trellis_code(3, 40, ScaleMode::one), Role::keys, 1, random);
  const std::uint8_t *token = keys.codes.data() + 5 * 15, *rest = keys.packed.data() + 64 * 12;
  EXPECT_EQ(rest[2 * 5], token[12]);
  EXPECT_EQ(rest[2 * 5 + 1], token[13]);
  EXPECT_EQ(rest[2 * 64 + 5], token[14]);
  CodedSide values(*make_trellis_code(3, 48, ScaleMode::one), Role::values, 1, random);
  const std::uint8_t* quad = values.packed.data() + 2 * (4 * 18);
  for (int byte = 0; byte < 18; ++byte) EXPECT_EQ(quad[4 * byte + 3], values.codes[11 * 18 + byte]) << byte;
}

TEST(TrellisBlocks, RoundedTableStaysOddAndClose) {
  for (int bits = 1; bits <= 4; ++bits) {
    const CodeSpec spec = make_trellis_code(bits, 128, ScaleMode::one)->spec();
    ASSERT_TRUE(has_odd_table(spec));
    const TrellisBytes table = round_trellis_table(spec);
    for (std::size_t w = 0; w < 128; ++w)
      EXPECT_NEAR((static_cast<float>(table.bytes[w]) - 127.5f) * table.step, (*spec.table)[w],
                  1.01f * table.step);
  }
}

// Errors of roundings alone: a wrong window would be as large as the values themselves.
constexpr double kSmall[] = {0, 4e-4, 4e-4, 4e-4, 4e-4};

TEST(TrellisBlocks, ScoresFollowTheDefinition) {
  on_levels_with_kernels([] {
    std::mt19937 random(2);
    for (const int dims : kHeadDims) {
      for (int bits = 1; bits <= 4; ++bits) {
        const auto code = make_trellis_code(bits, dims, ScaleMode::one);
        CodedSide side(*code, Role::keys, 1, random);
        const KeyKernel kernel = find_key_kernel(side.spec, AttentionArithmetic::fast);
        ASSERT_TRUE(kernel.scores != nullptr || !has_whole_words(dims, bits, Role::keys));
        ASSERT_TRUE(kernel.scores != nullptr || cpu_level() != "AVX3_DL");
        if (kernel.scores == nullptr) continue;
        for (int rows = 1; rows <= 8; ++rows) {
          EXPECT_LT(test::score_error(side, kernel, rows, random), kSmall[bits])
              << dims << " dims, " << bits << " bits, " << rows << " rows";
        }
      }
    }
  });
}

TEST(TrellisBlocks, SumsFollowTheDefinition) {
  on_levels_with_kernels([] {
    std::mt19937 random(3);
    for (const int dims : kHeadDims) {
      for (int bits = 1; bits <= 4; ++bits) {
        const auto code = make_trellis_code(bits, dims, ScaleMode::one);
        CodedSide side(*code, Role::values, 1, random);
        const ValueKernel kernel = find_value_kernel(side.spec, AttentionArithmetic::fast);
        ASSERT_TRUE(kernel.add != nullptr || !has_whole_words(dims, bits, Role::values));
        ASSERT_TRUE(kernel.add != nullptr || cpu_level() != "AVX3_DL" || !has_word_order(dims));
        if (kernel.add == nullptr) continue;
        for (int rows = 1; rows <= 8; ++rows) {
          EXPECT_LT(test::sum_error(side, kernel, rows, random), kSmall[bits])
              << dims << " dims, " << bits << " bits, " << rows << " rows";
        }
      }
    }
  });
}

// Attention's own error against the double reference stays small beside that of the codes, for flat and peaky
// rows.
TEST(TrellisBlocks, ErrorIsSmallBesideThatOfTheCodes) {
  on_levels_with_kernels([] {
    std::mt19937 random(4);
    for (int bits = 1; bits <= 4; ++bits) {
      const auto code = make_trellis_code(bits, 128, ScaleMode::one);
      for (const float sharpness : {0.5f, 1.0f, 2.0f, 4.0f}) {
        const double share = test::error_share(*code, *code, 4, 16, sharpness, random);
        RecordProperty(
            "share_" + std::to_string(bits) + "_" + std::to_string(static_cast<int>(10 * sharpness)),
            std::to_string(share));
        EXPECT_LT(share, 0.02) << bits << " bits, queries of size " << sharpness;
        EXPECT_GT(share, 1e-7);
      }
    }
  });
}

}  // namespace
}  // namespace veloxquant
