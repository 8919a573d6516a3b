#include <gtest/gtest.h>

#include "attention/mixed_blocks.hpp"
#include "coded_blocks.hpp"

namespace veloxquant {
namespace {

using test::CodedSide;
using Plan = std::vector<RunPlan>;

const Plan kScalarRuns = {{CodeKind::scalar, 4, 16}, {CodeKind::scalar, 3, 32}, {CodeKind::scalar, 2, 48}};
const Plan kTrellisRuns = {
    {CodeKind::trellis, 2, 64}, {CodeKind::scalar, 4, 16}, {CodeKind::trellis, 3, 128}};
// As allocations give them: widths that never grow, runs of any eight coordinates. Values of 5 and 6 bits in runs of 8
// have no kernel and are decoded among others that have.
const Plan kAllocatedRuns = {{CodeKind::scalar, 6, 8},   {CodeKind::scalar, 5, 8},
                             {CodeKind::trellis, 4, 24}, {CodeKind::trellis, 3, 40},
                             {CodeKind::trellis, 2, 24}, {CodeKind::trellis, 1, 8}};
// Strings that go on in runs of 1, 2, 3 and 4 bytes, and in whole words.
const Plan kSmallestRuns = {{CodeKind::trellis, 4, 8},
                            {CodeKind::trellis, 3, 8},
                            {CodeKind::trellis, 2, 8},
                            {CodeKind::trellis, 1, 8}};
const Plan kWholeWords = {{CodeKind::trellis, 4, 16},
                          {CodeKind::trellis, 3, 32},
                          {CodeKind::trellis, 2, 64},
                          {CodeKind::trellis, 1, 32}};
const Plan kOddRuns = {{CodeKind::scalar, 4, 15},
                       {CodeKind::scalar, 2, 33}};  // no kernels of their own, row order

// Values of a run that has a kernel begin behind one of 15 coordinates that has none.
const Plan kUnalignedRuns = {{CodeKind::scalar, 4, 15}, {CodeKind::scalar, 4, 16}, {CodeKind::scalar, 2, 16}};

TEST(MixedBlocks, PagesGiveBackEveryRow) {
  std::mt19937 random(1);
  for (const Plan& plan : {kScalarRuns, kTrellisRuns, kAllocatedRuns, kSmallestRuns, kWholeWords, kOddRuns}) {
    for (const bool gain : {false, true}) {
      for (const Role role : {Role::keys, Role::values}) {
        CodedSide side(*make_mixed_code(plan, gain), role, 1, random);
        const std::size_t bytes = side.spec.code_bytes(), scale_bytes = side.spec.scale_bytes();
        std::vector<std::uint8_t> codes(11 * bytes), scales(11 * scale_bytes + 1);
        side.order->unpack(side.packed.data(), 7, 11, codes.data(), scales.data());
        EXPECT_EQ(std::memcmp(codes.data(), side.codes.data() + 7 * bytes, codes.size()), 0);
        for (std::size_t i = 0; i < 11 * scale_bytes; ++i)
          EXPECT_EQ(scales[i], side.scales[7 * scale_bytes + i]);
      }
    }
  }
}

// Rounds nothing: the rows are decoded and attended in single precision.
TEST(MixedBlocks, IsDecodedWhereARunHasNoKernel) {
  std::mt19937 random(3);
  for (const bool gain : {false, true}) {
    const auto code = make_mixed_code(kOddRuns, gain);
    EXPECT_EQ(mixed_keys(code->spec(), AttentionArithmetic::fast).scores, nullptr);
    EXPECT_EQ(mixed_values(code->spec(), AttentionArithmetic::fast).add, nullptr);
    test::on_levels_with_kernels(code->spec(), [&] {
      for (const int rows : {1, 3, 8})
        EXPECT_LT(test::error_share(*code, *code, rows, 8, 1.0f, random), 1e-9) << rows;
    });
  }
}

TEST(MixedBlocks, ErrorIsSmallBesideThatOfTheCodes) {
  std::mt19937 random(2);
  for (const Plan& plan :
       {kScalarRuns, kTrellisRuns, kAllocatedRuns, kSmallestRuns, kWholeWords, kUnalignedRuns}) {
    for (const bool gain : {false, true}) {
      const auto code = make_mixed_code(plan, gain);
      test::on_levels_with_kernels(code->spec(), [&] {
        for (const int rows : {1, 3, 4, 8}) {
          for (const float sharpness : {0.5f, 1.0f, 4.0f}) {
            const double share = test::error_share(*code, *code, rows, 8, sharpness, random);
            EXPECT_LT(share, 0.02) << code->spec().name() << ", " << rows << " rows, queries of size "
                                   << sharpness;
            if (mixed_keys(code->spec(), AttentionArithmetic::fast).scores != nullptr) {
              EXPECT_GT(share, 1e-7);
            }
          }
        }
      });
    }
  }
}

}  // namespace
}  // namespace veloxquant
