#include "attention/float_blocks.hpp"

#include <gtest/gtest.h>

#include "coded_blocks.hpp"

namespace veloxquant {
namespace {

using test::CodedSide;

constexpr CodeKind kKinds[] = {CodeKind::f32, CodeKind::f16, CodeKind::bf16, CodeKind::fp8_e4m3};
constexpr int kHeadDims[] = {16, 64, 80, 96, 112, 128, 192, 256};

// fp32 sums of up to 256 products: 1e-5 of the result, squared.
constexpr double kSmall = 1e-10;

std::string describe(CodeKind kind, int dims, int rows) {
  return std::string(to_string(kind)) + ", " + std::to_string(dims) + " dims, " + std::to_string(rows) +
         " rows";
}

TEST(FloatBlocks, ScoresFollowTheDefinition) {
  test::on_every_cpu_level([](const std::string& level) {
    std::mt19937 random(1);
    for (const CodeKind kind : kKinds) {
      for (const int dims : kHeadDims) {
        CodedSide side(*make_float_code(kind, dims), Role::keys, 1, random);
        const KeyKernel kernel = float_keys(side.spec);
        ASSERT_NE(kernel.scores, nullptr);
        for (int rows = 1; rows <= kKernelRows; ++rows) {
          EXPECT_LT(test::score_error(side, kernel, rows, random), kSmall)
              << level << ", " << describe(kind, dims, rows);
        }
      }
    }
  });
}

TEST(FloatBlocks, SumsFollowTheDefinition) {
  test::on_every_cpu_level([](const std::string& level) {
    std::mt19937 random(2);
    for (const CodeKind kind : kKinds) {
      for (const int dims : kHeadDims) {
        CodedSide side(*make_float_code(kind, dims), Role::values, 1, random);
        const ValueKernel kernel = float_values(side.spec);
        ASSERT_NE(kernel.add, nullptr);
        for (int rows = 1; rows <= kKernelRows; ++rows) {
          EXPECT_LT(test::sum_error(side, kernel, rows, random), kSmall)
              << level << ", " << describe(kind, dims, rows);
        }
      }
    }
  });
}

TEST(FloatBlocks, ServeBothArithmetics) {
  for (const CodeKind kind : kKinds) {
    for (const AttentionArithmetic arithmetic : {AttentionArithmetic::fast, AttentionArithmetic::precise}) {
      const CodeSpec spec = make_float_code(kind, 128)->spec(), odd = make_float_code(kind, 100)->spec();
      EXPECT_NE(find_key_kernel(spec, arithmetic).scores, nullptr);
      EXPECT_NE(find_value_kernel(spec, arithmetic).add, nullptr);
      EXPECT_EQ(find_key_kernel(odd, arithmetic).scores, nullptr);
      EXPECT_EQ(find_value_kernel(odd, arithmetic).add, nullptr);
    }
  }
}

// Whole attention with the online softmax and masks, rows that see nothing included.
TEST(FloatBlocks, AttentionIsTheReferences) {
  test::on_every_cpu_level([](const std::string& level) {
    std::mt19937 random(3);
    for (const CodeKind kind : kKinds) {
      for (const test::Visibility seen : {test::Visibility::all, test::Visibility::causal,
                                          test::Visibility::window, test::Visibility::some_empty}) {
        for (const float sharpness : {1.0f, 10.0f}) {
          const auto code = make_float_code(kind, 128);
          const CodedSide keys(*code, Role::keys, 9, random), values(*code, Role::values, 9, random);
          const test::RandomQueries queries(8, 128, 9 * kBlockTokens - 5, seen, 1, random);
          AttendQuery query = queries.query();
          query.scale *= sharpness;
          const test::Outputs outputs = test::attend_both(keys, values, query, AttentionArithmetic::precise);
          const std::vector<double> nothing(outputs.reference.size());
          EXPECT_LT(test::squared_distance(outputs.ours, outputs.reference),
                    kSmall * test::squared_distance(outputs.reference, nothing))
              << level << ", " << to_string(kind) << ", sharpness " << sharpness;
        }
      }
    }
  });
}

}  // namespace
}  // namespace veloxquant
