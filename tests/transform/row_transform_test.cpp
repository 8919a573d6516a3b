// The 4-D forms that all row transforms share.
#include <veloxquant/transform/row_transform.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>

#include <veloxquant/core/error.hpp>
#include <veloxquant/transform/hadamard.hpp>
#include <veloxquant/transform/rotation.hpp>

#include "transform/random.hpp"

namespace veloxquant {
namespace {

std::vector<std::unique_ptr<RowTransform>> transforms(int d) {
  std::vector<std::unique_ptr<RowTransform>> result;
  result.push_back(std::make_unique<HadamardTransform>(d, 1));
  result.push_back(std::make_unique<HaarRotation>(d, 1));
  return result;
}

Tensor normal_tensor(const Shape& shape) {
  const Tensor x = Tensor::empty(shape, DType::f32);
  NormalSource normal(9);
  for (float& value : x.span<float>()) value = static_cast<float>(normal.next());
  return x;
}

float at(const Tensor& x, std::int64_t i) { return x.data<float>()[i]; }

TEST(RowTransform, MapsEveryRowAndBack) {
  const Tensor x = normal_tensor({2, 3, 5, 16});
  for (const auto& transform : transforms(16)) {
    const TransformResult result = transform->apply(x);
    EXPECT_EQ(result.output.shape(), x.shape());
    EXPECT_EQ(result.output.dtype(), DType::f32);
    std::vector<float> y(16);
    for (std::int64_t row = 0; row < 30; ++row) {
      transform->apply_row(x.data<float>() + 16 * row, y.data());
      for (int c = 0; c < 16; ++c) ASSERT_EQ(at(result.output, 16 * row + c), y[c]);
    }
    const Tensor back = transform->inverse(result), from_tensor = transform->inverse(result.output);
    const Tensor q = transform->apply_query(x);
    for (std::int64_t i = 0; i < x.numel(); ++i) {
      ASSERT_NEAR(at(back, i), at(x, i), 2e-6);
      ASSERT_EQ(at(from_tensor, i), at(back, i));
      ASSERT_EQ(at(q, i), at(result.output, i));
    }
  }
}

TEST(RowTransform, TakesEveryFloatTypeAndGivesItBack) {
  const Tensor x = normal_tensor({1, 2, 3, 16});
  for (const auto& transform : transforms(16))
    for (const DType dtype : {DType::f16, DType::bf16}) {
      const Tensor narrow = x.to(dtype);
      const TransformResult result = transform->apply(narrow);
      EXPECT_EQ(result.output.dtype(), DType::f32);
      const Tensor back = transform->inverse(result);
      EXPECT_EQ(back.dtype(), dtype);
      for (std::int64_t i = 0; i < x.numel(); ++i)
        EXPECT_NEAR(at(back.to(DType::f32), i), at(narrow.to(DType::f32), i), 0.01);
    }
}

TEST(RowTransform, TakesAnyStrides) {
  const Tensor wide = normal_tensor({2, 3, 8, 16});
  const Tensor part = wide.slice(2, 2, 7);
  for (const auto& transform : transforms(16)) {
    const Tensor a = transform->apply(part).output, b = transform->apply(part.copy()).output;
    for (std::int64_t i = 0; i < a.numel(); ++i) ASSERT_EQ(at(a, i), at(b, i));
  }
}

TEST(RowTransform, EmptySequencesAreFine) {
  for (const auto& transform : transforms(16))
    EXPECT_EQ(transform->apply(Tensor::empty({1, 2, 0, 16}, DType::f32)).output.shape(),
              (Shape{1, 2, 0, 16}));
}

TEST(RowTransform, RefusesWrongInput) {
  for (const auto& transform : transforms(16)) {
    EXPECT_THROW(transform->apply(normal_tensor({3, 5, 16})), ShapeError);
    EXPECT_THROW(transform->apply(normal_tensor({2, 3, 5, 8})), ShapeError);
    EXPECT_THROW(transform->apply(Tensor::zeros({1, 1, 1, 16}, DType::i32)), DTypeError);
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      const Tensor x = normal_tensor({2, 3, 5, 16});
      x.data<float>()[((1 * 3 + 2) * 5 + 4) * 16 + 7] = bad;
      for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
        EXPECT_THROW(transform->inverse(x.to(dtype)), NumericError);
        EXPECT_THROW(transform->apply_query(x.to(dtype)), NumericError);
        try {
          transform->apply(x.to(dtype));
          FAIL();
        } catch (const NumericError& error) {
          EXPECT_NE(std::string(error.what()).find("[1, 2, 4, 7]"), std::string::npos) << error.what();
        }
      }
    }
  }
}

}  // namespace
}  // namespace veloxquant
