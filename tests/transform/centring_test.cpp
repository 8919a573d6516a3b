#include <veloxquant/transform/centring.hpp>

#include <gtest/gtest.h>

#include <limits>

#include <veloxquant/core/error.hpp>

namespace veloxquant {
namespace {

Tensor ramp(const Shape& shape, float step) {
  const Tensor x = Tensor::empty(shape, DType::f32);
  float value = 0;
  for (float& entry : x.span<float>()) entry = value += step;
  return x;
}

TEST(Centring, SubtractsTheMeanOfEachHead) {
  const Centring centring(ramp({2, 4}, 1));
  const Tensor x = ramp({3, 2, 5, 4}, 0.5f);
  const TransformResult result = centring.apply(x);
  for (std::int64_t b = 0; b < 3; ++b)
    for (std::int64_t h = 0; h < 2; ++h)
      for (std::int64_t s = 0; s < 5; ++s)
        for (std::int64_t c = 0; c < 4; ++c) {
          const std::int64_t i = ((b * 2 + h) * 5 + s) * 4 + c;
          EXPECT_EQ(result.output.data<float>()[i], x.data<float>()[i] - static_cast<float>(h * 4 + c + 1));
        }
  const Tensor back = centring.inverse(result);
  for (std::int64_t i = 0; i < x.numel(); ++i) EXPECT_EQ(back.data<float>()[i], x.data<float>()[i]);
}

TEST(Centring, KeepsTheElementType) {
  const Centring centring(ramp({2, 4}, 1));
  const TransformResult result = centring.apply(ramp({1, 2, 5, 4}, 0.5f).to(DType::bf16));
  EXPECT_EQ(result.output.dtype(), DType::f32);
  EXPECT_EQ(centring.inverse(result).dtype(), DType::bf16);
}

TEST(Centring, LeavesQueriesAlone) {
  const Centring centring(ramp({2, 4}, 1));
  const Tensor q = ramp({1, 8, 3, 4}, 0.25f);
  const Tensor out = centring.apply_query(q);
  for (std::int64_t i = 0; i < q.numel(); ++i) EXPECT_EQ(out.data<float>()[i], q.data<float>()[i]);
}

TEST(Centring, RefusesWrongMeansAndInput) {
  EXPECT_THROW(Centring(ramp({2, 2, 4}, 1)), ShapeError);
  EXPECT_THROW(Centring(ramp({2, 4}, 1).to(DType::f16)), DTypeError);
  const Tensor bad = ramp({2, 4}, 1);
  bad.data<float>()[6] = std::numeric_limits<float>::infinity();
  EXPECT_THROW(Centring{bad}, NumericError);
  const Centring centring(ramp({2, 4}, 1));
  EXPECT_THROW(centring.apply(ramp({1, 3, 5, 4}, 1)), ShapeError);
  EXPECT_THROW(centring.apply(ramp({1, 2, 5, 8}, 1)), ShapeError);
  EXPECT_THROW(centring.apply(ramp({2, 5, 4}, 1)), ShapeError);
}

}  // namespace
}  // namespace veloxquant
