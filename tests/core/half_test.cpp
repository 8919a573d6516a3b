// The narrow floating types against their definition: sign * 2^(e - bias) * (1 + f / 2^m), or subnormal.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <veloxquant/core/half.hpp>

namespace veloxquant {
namespace {

// The value that a format with `exponent` and `fraction` bits gives to `bits`, from the definition.
double value_of(unsigned bits, int exponent, int fraction) {
  const int bias = (1 << (exponent - 1)) - 1;
  const unsigned e = bits >> fraction & ((1u << exponent) - 1u);
  const unsigned f = bits & ((1u << fraction) - 1u);
  const double sign = bits >> (exponent + fraction) & 1u ? -1 : 1;
  const double scaled = static_cast<double>(f) / (1u << fraction);
  return e == 0 ? sign * std::ldexp(scaled, 1 - bias)
                : sign * std::ldexp(1 + scaled, static_cast<int>(e) - bias);
}

TEST(Half, EveryF16HasItsDefinedValueAndRoundTrips) {
  for (unsigned b = 0; b < 0x10000; ++b) {
    const f16 x{static_cast<std::uint16_t>(b)};
    if ((b & 0x7c00u) == 0x7c00u) {
      EXPECT_FALSE(std::isfinite(to_f32(x)));
      continue;
    }
    ASSERT_EQ(static_cast<double>(to_f32(x)), value_of(b, 5, 10)) << b;
    ASSERT_EQ(to_f16(to_f32(x)).bits, b);
  }
}

TEST(Half, EveryFp8HasItsDefinedValueAndRoundTrips) {
  for (unsigned b = 0; b < 0x100; ++b) {
    const fp8_e4m3 x{static_cast<std::uint8_t>(b)};
    if ((b & 0x7fu) == 0x7fu) {
      EXPECT_TRUE(std::isnan(to_f32(x)));
      continue;
    }
    ASSERT_EQ(static_cast<double>(to_f32(x)), value_of(b, 4, 3)) << b;
    ASSERT_EQ(to_fp8_e4m3(to_f32(x)).bits, b);
  }
}

TEST(Half, EveryBf16RoundTrips) {
  for (unsigned b = 0; b < 0x10000; ++b) {
    const bf16 x{static_cast<std::uint16_t>(b)};
    if (std::isnan(to_f32(x))) continue;
    ASSERT_EQ(to_bf16(to_f32(x)).bits, b);
  }
}

// Rounding: the result is a nearest value, and of two equally near ones the even one.
template <class T, class Narrow>
void check_nearest_even(Narrow narrow, unsigned limit) {
  for (unsigned b = 0; b + 1 < limit; ++b) {
    const float lower = to_f32(T{static_cast<decltype(T{}.bits)>(b)});
    const float upper = to_f32(T{static_cast<decltype(T{}.bits)>(b + 1)});
    const auto middle = static_cast<float>((static_cast<double>(lower) + static_cast<double>(upper)) / 2);
    ASSERT_EQ(narrow(std::nextafterf(middle, lower)).bits, b);
    ASSERT_EQ(narrow(std::nextafterf(middle, upper)).bits, b + 1);
    ASSERT_EQ(narrow(middle).bits, b % 2 == 0 ? b : b + 1);
    ASSERT_EQ(narrow(-middle).bits & ((1u << (8 * sizeof(T) - 1)) - 1u), b % 2 == 0 ? b : b + 1);
  }
}

TEST(Half, RoundsToNearestEven) {
  check_nearest_even<f16>([](float x) { return to_f16(x); }, 0x7c00u);
  check_nearest_even<fp8_e4m3>([](float x) { return to_fp8_e4m3(x); }, 0x7fu);
  check_nearest_even<bf16>([](float x) { return to_bf16(x); }, 0x7f80u - 1);
}

TEST(Half, OverflowIsInfinityOrNan) {
  EXPECT_EQ(to_f16(65519.9f).bits, 0x7bff);
  EXPECT_EQ(to_f16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(to_f16(-1e30f).bits, 0xfc00);
  EXPECT_EQ(to_fp8_e4m3(464.0f).bits, 0x7e);
  EXPECT_EQ(to_fp8_e4m3(464.1f).bits, 0x7f);
  EXPECT_TRUE(std::isnan(to_f32(to_f16(std::nanf("")))));
  EXPECT_TRUE(std::isnan(to_f32(to_bf16(std::nanf("")))));
}

}  // namespace
}  // namespace veloxquant
