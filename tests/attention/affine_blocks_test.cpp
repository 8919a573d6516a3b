#include "attention/affine_blocks.hpp"

#include <gtest/gtest.h>

#include "coded_blocks.hpp"
#include "pack/plane_order.hpp"

namespace veloxquant {
namespace {

using test::CodedSide;

struct GroupCode {
  std::unique_ptr<RowCode> code;
  std::string name;
};

std::vector<GroupCode> group_codes(int head_dim) {
  std::vector<GroupCode> codes;
  const auto add = [&](std::unique_ptr<RowCode> code) {
    std::string name = code->spec().name() + ", " + std::to_string(head_dim) + " dims";
    codes.push_back({std::move(code), std::move(name)});
  };
  for (const int group : {32, 64, 128}) {
    if (head_dim % group != 0) continue;
    for (const int bits : {2, 3, 4, 5, 6, 8}) add(make_affine_code(bits, group, head_dim));
  }
  add(make_integer_code(4, head_dim));
  add(make_integer_code(8, head_dim));
  return codes;
}

// Calls body() at every CPU level that has kernels of these codes.
template <class Body>
void on_levels_with_kernels(const Body& body) {
  test::on_levels_with_kernels(make_integer_code(8, 128)->spec(), body);
}

// 15-bit queries and weights: 2^-15 / sqrt(3) of the largest, against a typical size.
constexpr double kSmall = 1e-7;

TEST(AffineBlocks, PagesGiveBackEveryRow) {
  std::mt19937 random(1);
  for (const Role role : {Role::keys, Role::values}) {
    for (const auto& [code, name] : group_codes(64)) {
      ASSERT_TRUE(has_group_order(code->spec()));
      CodedSide side(*code, role, 1, random);
      const std::size_t bytes = side.spec.code_bytes(), scale_bytes = side.spec.scale_bytes();
      std::vector<std::uint8_t> codes(11 * bytes), scales(11 * scale_bytes);
      side.order->unpack(side.packed.data(), 7, 11, codes.data(), scales.data());
      EXPECT_EQ(std::memcmp(codes.data(), side.codes.data() + 7 * bytes, codes.size()), 0) << name;
      EXPECT_EQ(std::memcmp(scales.data(), side.scales.data() + 7 * scale_bytes, scales.size()), 0) << name;
    }
  }
}

TEST(AffineBlocks, ScoresFollowTheDefinition) {
  on_levels_with_kernels([] {
    std::mt19937 random(2);
    for (const int dims : {32, 64, 128, 256}) {
      for (const auto& [code, name] : group_codes(dims)) {
        CodedSide side(*code, Role::keys, 1, random);
        const KeyKernel kernel = find_key_kernel(side.spec, AttentionArithmetic::fast);
        ASSERT_NE(kernel.scores, nullptr) << name;
        for (const int rows : {1, 2, 3, 4, 7, 8}) {
          EXPECT_LT(test::score_error(side, kernel, rows, random), kSmall) << name << ", " << rows << " rows";
        }
      }
    }
  });
}

TEST(AffineBlocks, SumsFollowTheDefinition) {
  on_levels_with_kernels([] {
    std::mt19937 random(3);
    for (const int dims : {32, 64, 128, 256}) {
      for (const auto& [code, name] : group_codes(dims)) {
        CodedSide side(*code, Role::values, 1, random);
        const ValueKernel kernel = find_value_kernel(side.spec, AttentionArithmetic::fast);
        ASSERT_NE(kernel.add, nullptr) << name;
        ASSERT_EQ(kernel.form, WeightForm::f32);
        for (const int rows : {1, 2, 3, 4, 7, 8}) {
          EXPECT_LT(test::sum_error(side, kernel, rows, random), kSmall) << name << ", " << rows << " rows";
        }
      }
    }
  });
}

TEST(AffineBlocks, ErrorIsSmallBesideThatOfTheCodes) {
  on_levels_with_kernels([] {
    std::mt19937 random(4);
    for (const auto& [code, name] : group_codes(128)) {
      for (const float sharpness : {1.0f, 4.0f}) {
        EXPECT_LT(test::error_share(*code, *code, 4, 8, sharpness, random), 0.02)
            << name << ", queries of size " << sharpness;
      }
    }
  });
}

}  // namespace
}  // namespace veloxquant
