#include <gtest/gtest.h>

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

float scale_of(const testing::CodedRow& row, int group) {
  f16 scale;
  std::memcpy(&scale, row.scales.data() + 2 * group, 2);
  return to_f32(scale);
}

// ggml's reference loops, group by group.
TEST(IntegerCode, Q8FollowsTheFormat) {
  const auto code = make_integer_code(8, 128);
  for (int trial = 0; trial < 200; ++trial) {
    const auto x = normal_values(128, static_cast<std::uint64_t>(trial));
    const auto row = encode(*code, x.data());
    for (int g = 0; g < 4; ++g) {
      float amax = 0;
      for (int c = 0; c < 32; ++c) amax = std::max(amax, std::fabs(x[g * 32 + c]));
      const float d = amax / 127, inverse = 1.0f / d;
      ASSERT_EQ(scale_of(row, g), to_f32(to_f16(d)));
      for (int c = 0; c < 32; ++c)
        ASSERT_EQ(static_cast<std::int8_t>(row.codes[g * 32 + c]), std::lround(x[g * 32 + c] * inverse));
    }
  }
}

TEST(IntegerCode, Q8RoundsHalvesAwayFromZero) {
  std::vector<float> x(32, 0.0f);
  x[0] = 127, x[1] = 2.5f, x[2] = -2.5f, x[3] = std::nextafter(0.5f, 0.0f), x[4] = -0.5f;
  const auto row = encode(*make_integer_code(8, 32), x.data());
  const int expected[] = {127, 3, -3, 0, -1, 0};
  for (int c = 0; c < 6; ++c) EXPECT_EQ(static_cast<std::int8_t>(row.codes[c]), expected[c]);
}

TEST(IntegerCode, Q4FollowsTheFormat) {
  const auto code = make_integer_code(4, 96);
  for (int trial = 0; trial < 200; ++trial) {
    const auto x = normal_values(96, 1000 + static_cast<std::uint64_t>(trial));
    const auto row = encode(*code, x.data());
    for (int g = 0; g < 3; ++g) {
      float largest = 0;
      for (int c = 0; c < 32; ++c)
        if (std::fabs(x[g * 32 + c]) > std::fabs(largest)) largest = x[g * 32 + c];
      const float d = largest / -8, inverse = 1.0f / d;
      ASSERT_EQ(scale_of(row, g), to_f32(to_f16(d)));
      for (int c = 0; c < 32; ++c) {
        const int expected = std::min(15, static_cast<int>(x[g * 32 + c] * inverse + 8.5f));
        ASSERT_EQ(read_bits(row.codes.data(), 4 * static_cast<std::size_t>(g * 32 + c), 4), expected);
      }
    }
  }
}

TEST(IntegerCode, ErrorIsAtMostHalfAStep) {
  for (const int d : {64, 96, 128, 192, 256}) {
    const auto x = normal_values(static_cast<std::size_t>(d), 7);
    for (const int bits : {4, 8}) {
      const auto code = make_integer_code(bits, d);
      const auto row = encode(*code, x.data());
      const auto y = coded(*code, x.data());
      for (int c = 0; c < d; ++c) {
        const double step = std::fabs(scale_of(row, c / 32)), reach = bits == 8 ? 127 : 8;
        const double clipped =
            bits == 4 ? 0.5 : 0;  // +8 does not exist: the other end is off by up to one step
        EXPECT_LE(std::fabs(y[c] - x[c]), step * (0.5 + clipped + reach * 0x1p-11 + 1e-5));
      }
    }
  }
}

TEST(IntegerCode, TinyAndHugeValues) {
  for (const int bits : {4, 8}) {
    const auto code = make_integer_code(bits, 32);
    for (const float magnitude : {1e-45f, 1e-39f, 1e-10f, 2e-8f}) {
      std::vector<float> x(32, magnitude);
      for (const float y : coded(*code, x.data())) EXPECT_EQ(y, 0.0f);  // the scale is below f16's smallest
    }
    std::vector<float> huge(32, 1e30f);
    EXPECT_THROW(encode(*code, huge.data()), NumericError);
    huge.assign(32, 65504.0f);
    EXPECT_NEAR(coded(*code, huge.data())[0], 65504.0f, 64);
  }
}

TEST(IntegerCode, RefusesOtherWidthsAndSizes) {
  EXPECT_THROW(make_integer_code(5, 128), ConfigError);
  EXPECT_THROW(make_integer_code(8, 80), ConfigError);
  EXPECT_THROW(make_integer_code(4, 112), ConfigError);
  EXPECT_THROW(make_integer_code(4, 0), ConfigError);
}

}  // namespace
}  // namespace veloxquant
