// What all codes have in common: sizes, names, and that encoding writes what it should and nothing else.
#include <gtest/gtest.h>

#include "codebook/samples.hpp"

namespace veloxquant {
namespace {

std::vector<std::unique_ptr<RowCode>> codes_of(int d) {
  std::vector<std::unique_ptr<RowCode>> codes;
  for (const CodeKind kind : {CodeKind::f32, CodeKind::f16, CodeKind::bf16, CodeKind::fp8_e4m3})
    codes.push_back(make_float_code(kind, d));
  if (d % 32 == 0)
    for (const int bits : {4, 8}) codes.push_back(make_integer_code(bits, d));
  for (const int group : {32, 64, 128})
    if (d % group == 0)
      for (const int bits : {2, 3, 4, 5, 6, 8}) codes.push_back(make_affine_code(bits, group, d));
  for (int bits = 1; bits <= 8; ++bits) codes.push_back(make_scalar_code(bits, d, ScaleMode::unbiased));
  for (int bits = 1; bits <= 4; ++bits) codes.push_back(make_trellis_code(bits, d, ScaleMode::unbiased));
  return codes;
}

constexpr int kHeadDims[] = {64, 80, 96, 112, 128, 192, 256, 18, 34, 66, 100};

TEST(RowCode, SizesAreTheFormulas) {
  const auto bytes = [](const std::unique_ptr<RowCode>& code) {
    return std::pair(code->spec().code_bytes(), code->spec().scale_bytes());
  };
  using Pair = std::pair<std::size_t, std::size_t>;
  EXPECT_EQ(bytes(make_float_code(CodeKind::f32, 80)), Pair(320, 0));
  EXPECT_EQ(bytes(make_float_code(CodeKind::bf16, 80)), Pair(160, 0));
  EXPECT_EQ(bytes(make_float_code(CodeKind::fp8_e4m3, 80)), Pair(80, 0));
  EXPECT_EQ(bytes(make_integer_code(8, 96)), Pair(96, 6));
  EXPECT_EQ(bytes(make_integer_code(4, 96)), Pair(48, 6));
  EXPECT_EQ(bytes(make_affine_code(3, 64, 128)), Pair(48, 8));
  EXPECT_EQ(bytes(make_scalar_code(3, 80, ScaleMode::one)), Pair(30, 2));
  EXPECT_EQ(bytes(make_scalar_code(3, 66, ScaleMode::one)), Pair(25, 2));
  EXPECT_EQ(bytes(make_trellis_code(2, 128, ScaleMode::one)), Pair(32, 2));
  EXPECT_DOUBLE_EQ(make_trellis_code(2, 128, ScaleMode::one)->spec().bits_per_element(), 2.125);
  EXPECT_DOUBLE_EQ(make_affine_code(4, 64, 128)->spec().bits_per_element(), 4.5);
  EXPECT_DOUBLE_EQ(make_integer_code(4, 128)->spec().bits_per_element(), 4.5);
}

TEST(RowCode, NamesSayKindWidthAndGroup) {
  EXPECT_EQ(make_float_code(CodeKind::fp8_e4m3, 64)->spec().name(), "fp8_e4m3");
  EXPECT_EQ(make_integer_code(8, 64)->spec().name(), "integer 8 bit group 32");
  EXPECT_EQ(make_affine_code(4, 64, 64)->spec().name(), "affine 4 bit group 64");
  EXPECT_EQ(make_scalar_code(4, 64, ScaleMode::one)->spec().name(), "scalar 4 bit");
  EXPECT_EQ(make_trellis_code(1, 64, ScaleMode::one)->spec().name(), "trellis 1 bit");
}

// Encodes over memory of two different contents: equal results mean that every byte was written, guards that
// no other.
TEST(RowCode, EncodingWritesEveryByteAndNoOther) {
  for (const int d : kHeadDims) {
    const auto x = testing::normal_values(static_cast<std::size_t>(d), 31);
    for (const auto& code : codes_of(d)) {
      const std::size_t n = code->spec().code_bytes(), m = code->spec().scale_bytes();
      std::vector<std::uint8_t> results[2];
      for (const int fill : {0, 255}) {
        std::vector<std::uint8_t> codes(n + 16, static_cast<std::uint8_t>(fill)), scales(m + 16, codes[0]);
        code->encode(x.data(), codes.data(), scales.data());
        for (int i = 0; i < 16; ++i) {
          ASSERT_EQ(codes[n + i], fill) << code->spec().name() << " " << d;
          ASSERT_EQ(scales[m + i], fill) << code->spec().name() << " " << d;
        }
        codes.resize(n), scales.resize(m);
        codes.insert(codes.end(), scales.begin(), scales.end());
        results[fill / 255] = codes;
      }
      EXPECT_EQ(results[0], results[1]) << code->spec().name() << " " << d;
    }
  }
}

TEST(RowCode, UnusedBitsAreZero) {
  const auto x = testing::normal_values(66, 37);
  for (const auto& code : codes_of(66)) {
    const auto row = testing::encode(*code, x.data());
    const int used = 66 * code->spec().bits % 8;
    if (used != 0) {
      EXPECT_EQ(row.codes.back() >> used, 0) << code->spec().name();
    }
  }
}

TEST(RowCode, MoreBitsMeanLessError) {
  for (const int d : kHeadDims) {
    const auto rows = testing::sphere_vectors(200, d, 41);
    double last = 1;
    for (int bits = 1; bits <= 8; ++bits) {
      const double error = testing::mean_error(*make_scalar_code(bits, d, ScaleMode::one), rows);
      EXPECT_LT(error, 0.6 * last) << d << " " << bits;
      last = error;
    }
    if (d < 64) continue;  // the constraint that the path be closed starves short trellises
    for (int bits = 1; bits <= 4; ++bits)
      EXPECT_LT(testing::mean_error(*make_trellis_code(bits, d, ScaleMode::one), rows),
                testing::mean_error(*make_scalar_code(bits, d, ScaleMode::one), rows))
          << d << " " << bits;
  }
}

TEST(RowCode, ZerosDecodeToZeros) {
  for (const int d : kHeadDims)
    for (const auto& code : codes_of(d)) {
      const std::vector<float> zero(static_cast<std::size_t>(d), 0.0f);
      for (const float y : testing::coded(*code, zero.data())) ASSERT_EQ(y, 0.0f) << code->spec().name();
    }
}

}  // namespace
}  // namespace veloxquant
