#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include <veloxquant/core/error.hpp>
#include <veloxquant/core/half.hpp>

#include "codebook/samples.hpp"
#include "pack/bits.hpp"

namespace veloxquant {
namespace {

using testing::coded;
using testing::encode;
using testing::normal_values;

float stored(const testing::CodedRow& row, int index) {
  f16 value;
  std::memcpy(&value, row.scales.data() + 2 * index, 2);
  return to_f32(value);
}

constexpr int kWidths[] = {2, 3, 4, 5, 6, 8};

// mlx's quantize, in the order of its source, with scale and bias rounded to f16 before they are used.
TEST(AffineCode, FollowsMlx) {
  for (const int bits : kWidths)
    for (const int group : {32, 64, 128}) {
      const auto code = make_affine_code(bits, group, 128);
      const int groups = 128 / group;
      for (int trial = 0; trial < 60; ++trial) {
        auto x = normal_values(128, static_cast<std::uint64_t>(trial));
        for (float& value : x) value += 0.1f * static_cast<float>(trial % 20 - 10);  // offsets to both sides
        const auto row = encode(*code, x.data());
        for (int g = 0; g < groups; ++g) {
          const auto [low, high] = std::minmax_element(x.begin() + g * group, x.begin() + (g + 1) * group);
          const float n = static_cast<float>((1 << bits) - 1);
          const bool mask = std::fabs(*low) > std::fabs(*high);
          float scale = std::max((*high - *low) / n, 1e-7f);
          scale = mask ? scale : -scale;
          const float edge = mask ? *low : *high;
          const float q0 = std::rint(edge / scale);
          float bias = 0;
          if (q0 != 0) scale = edge / q0, bias = edge;
          scale = to_f32(to_f16(scale)), bias = to_f32(to_f16(bias));
          ASSERT_EQ(stored(row, g), scale);
          ASSERT_EQ(stored(row, groups + g), bias);
          for (int c = g * group; c < (g + 1) * group; ++c) {
            const float q = std::min(std::max(std::rint((x[c] - bias) / scale), 0.0f), n);
            ASSERT_EQ(read_bits(row.codes.data(), static_cast<std::size_t>(c * bits), bits), q);
          }
        }
      }
    }
}

TEST(AffineCode, ErrorIsAboutHalfAStep) {
  for (const int bits : kWidths)
    for (const int d : {64, 96, 128, 192, 256}) {
      const auto code = make_affine_code(bits, 32, d);
      const auto x = normal_values(static_cast<std::size_t>(d), 9);
      const auto row = encode(*code, x.data());
      const auto y = coded(*code, x.data());
      for (int c = 0; c < d; ++c) {
        // The step grows or shrinks when the larger end is made exact, so that the other end may lie a step
        // away.
        const double step = std::fabs(stored(row, c / 32));
        EXPECT_LE(std::fabs(y[c] - x[c]), step * (1 + (1 << bits) * 0x1p-11)) << bits << " " << d;
      }
    }
}

TEST(AffineCode, ConstantGroupsAndZeros) {
  for (const int bits : kWidths) {
    const auto code = make_affine_code(bits, 32, 64);
    for (const float value : {0.0f, 1.0f, -3.5f, 1e-3f, 1024.0f}) {
      const std::vector<float> x(64, value);
      for (const float y : coded(*code, x.data())) EXPECT_NEAR(y, value, std::fabs(value) * 0x1p-11);
    }
    const std::vector<float> tiny(64, 1e-9f);
    for (const float y : coded(*code, tiny.data())) EXPECT_LE(std::fabs(y), 1.2e-7f);
  }
}

TEST(AffineCode, LeavingTheRangeOfF16IsAnError) {
  const auto code = make_affine_code(4, 64, 64);
  std::vector<float> x(64, 0.0f);
  x[5] = 65504;
  EXPECT_NO_THROW(encode(*code, x.data()));
  for (const float value : {65520.0f, -1e6f, 1e30f, -3e38f}) {
    x[5] = value;
    EXPECT_THROW(encode(*code, x.data()), NumericError);
  }
  x[5] = 3e38f, x[6] = -3e38f;  // their difference is infinite
  EXPECT_THROW(encode(*code, x.data()), NumericError);
}

TEST(AffineCode, RefusesOtherWidthsGroupsAndSizes) {
  EXPECT_THROW(make_affine_code(7, 64, 128), ConfigError);
  EXPECT_THROW(make_affine_code(1, 64, 128), ConfigError);
  EXPECT_THROW(make_affine_code(4, 16, 128), ConfigError);
  EXPECT_THROW(make_affine_code(4, 128, 192), ConfigError);
  EXPECT_THROW(make_affine_code(4, 32, 80), ConfigError);
}

}  // namespace
}  // namespace veloxquant
