#include "attention/product_blocks.hpp"

#include <gtest/gtest.h>

#include "attention/decoded_blocks.hpp"
#include "codebook/product_code.hpp"
#include "coded_blocks.hpp"

namespace veloxquant {
namespace {

using test::CodedSide;

struct Shape {
  int bits, dims;
};
constexpr Shape kShapes[] = {{8, 4}, {8, 8}, {12, 4}, {12, 8}};
constexpr int kHeadDims[] = {16, 64, 80, 104, 128, 256};

// fp32 sums of up to 256 products: 1e-5 of the result, squared.
constexpr double kSmall = 1e-10;

std::unique_ptr<RowCode> random_code(Shape shape, int head_dim) {
  std::mt19937 random(static_cast<unsigned>(shape.bits * shape.dims));
  std::normal_distribution<float> normal;
  std::vector<float> centroids(static_cast<std::size_t>(shape.dims) << shape.bits);
  for (float& value : centroids) value = normal(random);
  return make_product_code(centroids, shape.bits, shape.dims, head_dim, ScaleMode::unbiased);
}

std::string describe(Shape shape, int dims, int rows) {
  return std::to_string(shape.bits) + " bits for " + std::to_string(shape.dims) + " of " +
         std::to_string(dims) + " dims, " + std::to_string(rows) + " rows";
}

TEST(ProductBlocks, ScoresAreSumsOfLookUps) {
  test::on_every_cpu_level([](const std::string& level) {
    std::mt19937 random(1);
    for (const Shape shape : kShapes) {
      for (const int dims : kHeadDims) {
        CodedSide side(*random_code(shape, dims), Role::keys, 1, random);
        const KeyKernel kernel = product_keys(side.spec);
        for (int rows = 1; rows <= kKernelRows; ++rows) {
          EXPECT_LT(test::score_error(side, kernel, rows, random), kSmall)
              << level << ", " << describe(shape, dims, rows);
        }
      }
    }
  });
}

TEST(ProductBlocks, DecodedBlocksFollowTheDefinition) {
  test::on_every_cpu_level([](const std::string& level) {
    std::mt19937 random(2);
    for (const Shape shape : kShapes) {
      for (const int dims : {16, 64, 80, 128}) {
        CodedSide keys(*random_code(shape, dims), Role::keys, 1, random);
        CodedSide values(*random_code(shape, dims), Role::values, 1, random);
        for (const int rows : {1, 3, 8}) {
          EXPECT_LT(test::score_error(keys, decoded_keys(keys.spec), rows, random), kSmall)
              << level << ", " << describe(shape, dims, rows);
          EXPECT_LT(test::sum_error(values, decoded_values(values.spec), rows, random), kSmall)
              << level << ", " << describe(shape, dims, rows);
        }
      }
    }
  });
}

// Whole attention with the online softmax and masks, rows that see nothing included, in both arithmetics.
TEST(ProductBlocks, AttentionIsTheReferences) {
  test::on_every_cpu_level([](const std::string& level) {
    std::mt19937 random(3);
    for (const Shape shape : kShapes) {
      const auto code = random_code(shape, 128);
      const CodedSide keys(*code, Role::keys, 9, random), values(*code, Role::values, 9, random);
      for (const test::Visibility seen : {test::Visibility::all, test::Visibility::causal,
                                          test::Visibility::window, test::Visibility::some_empty}) {
        for (const AttentionArithmetic arithmetic :
             {AttentionArithmetic::fast, AttentionArithmetic::precise}) {
          const test::RandomQueries queries(8, 128, 9 * kBlockTokens - 5, seen, 1, random);
          const test::Outputs outputs = test::attend_both(keys, values, queries.query(), arithmetic);
          const std::vector<double> nothing(outputs.reference.size());
          EXPECT_LT(test::squared_distance(outputs.ours, outputs.reference),
                    kSmall * test::squared_distance(outputs.reference, nothing))
              << level << ", " << describe(shape, 128, 8);
        }
      }
    }
  });
}

}  // namespace
}  // namespace veloxquant
