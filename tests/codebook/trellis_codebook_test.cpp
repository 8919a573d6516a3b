#include <veloxquant/codebook/trellis_codebook.hpp>

#include <gtest/gtest.h>

#include <veloxquant/core/error.hpp>

#include "codebook/samples.hpp"

namespace veloxquant {
namespace {

TEST(TrellisCodebook, WindowsOverlapAndCloseTheCircle) {
  for (int bits = 1; bits <= 4; ++bits) {
    const TrellisCodebook book(bits);
    const auto values = testing::normal_values(3 * 2 * 40, 1);
    const Tensor x = Tensor::copy_of<float>(values, {3, 2, 40});
    const Tensor windows = book.quantize(x);
    ASSERT_EQ(windows.shape(), x.shape());
    const std::uint8_t* w = windows.data<std::uint8_t>();
    for (int v = 0; v < 6; ++v)
      for (int t = 0; t < 40; ++t)
        ASSERT_EQ(w[v * 40 + t] >> bits, w[v * 40 + (t + 1) % 40] & ((1 << (8 - bits)) - 1)) << bits;
    const Tensor y = book.dequantize(windows);
    for (int i = 0; i < 240; ++i) ASSERT_EQ(y.data<float>()[i], book.values()[w[i]]);
  }
}

TEST(TrellisCodebook, AgreesWithTheRowCode) {
  for (int bits = 1; bits <= 4; ++bits) {
    const TrellisCodebook book(bits);
    auto z = testing::sphere_vectors(1, 64, 2);
    for (float& value : z) value *= 8;  // variance one
    const Tensor y = book.dequantize(book.quantize(Tensor::copy_of<float>(z, {64})));
    const auto decoded = testing::coded(*make_trellis_code(bits, 64, ScaleMode::one), z.data());
    for (int c = 0; c < 64; ++c) EXPECT_NEAR(y.data<float>()[c], decoded[c], 2e-3) << bits;
  }
}

TEST(TrellisCodebook, RefusesWhatItCannotCode) {
  EXPECT_THROW(TrellisCodebook(0), ConfigError);
  EXPECT_THROW(TrellisCodebook(5), ConfigError);
  const TrellisCodebook book(2);
  EXPECT_THROW(book.quantize(Tensor::zeros({4, 6}, DType::f32)), ShapeError);
  EXPECT_THROW(book.quantize(Tensor::zeros({4, 33}, DType::f32)), ShapeError);
  EXPECT_THROW(book.quantize(Tensor::zeros({4, 32}, DType::i8)), DTypeError);
  EXPECT_THROW(book.dequantize(Tensor::zeros({4, 32}, DType::f32)), DTypeError);
  EXPECT_EQ(book.quantize(Tensor::zeros({0, 32}, DType::f32)).shape(), (Shape{0, 32}));
}

}  // namespace
}  // namespace veloxquant
