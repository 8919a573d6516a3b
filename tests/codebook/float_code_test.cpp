#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include <veloxquant/core/error.hpp>

#include "codebook/samples.hpp"

namespace veloxquant {
namespace {

using testing::coded;
using testing::normal_values;

struct Format {
  CodeKind kind;
  double precision;  // half a unit in the last place, relative
  float largest;
  float first_refused;  // the smallest float that rounds beyond it
};

const Format kFormats[] = {
    {CodeKind::f16, 0x1p-11, 65504.0f, 65520.0f},
    {CodeKind::bf16, 0x1p-8, 0x1.fep127f, 0x1.ffp127f},
    {CodeKind::fp8_e4m3, 0x1p-4, 448.0f, std::nextafter(464.0f, 500.0f)},
};

TEST(FloatCode, F32IsExact) {
  const auto code = make_float_code(CodeKind::f32, 64);
  const auto x = normal_values(64, 1);
  EXPECT_EQ(coded(*code, x.data()), x);
  EXPECT_EQ(code->spec().code_bytes(), 256u);
  EXPECT_EQ(code->spec().scale_bytes(), 0u);
}

TEST(FloatCode, RoundsToNearest) {
  for (const Format& format : kFormats) {
    const auto code = make_float_code(format.kind, 128);
    const auto x = normal_values(128, 2);
    const auto y = coded(*code, x.data());
    for (std::size_t c = 0; c < x.size(); ++c)
      EXPECT_LE(std::fabs(y[c] - x[c]), format.precision * std::fabs(x[c]) + 0x1p-10)
          << to_string(format.kind) << " " << x[c];
  }
}

TEST(FloatCode, RefusesExactlyWhatRoundsBeyondTheRange) {
  for (const Format& format : kFormats) {
    const auto code = make_float_code(format.kind, 2);
    const float inside = std::nextafter(format.first_refused, 0.0f);
    for (const float sign : {1.0f, -1.0f}) {
      const float good[] = {0, sign * inside}, bad[] = {0, sign * format.first_refused};
      EXPECT_EQ(coded(*code, good)[1], sign * format.largest) << to_string(format.kind);
      try {
        coded(*code, bad);
        FAIL() << to_string(format.kind);
      } catch (const NumericError& error) {
        EXPECT_NE(std::string(error.what()).find("coordinate 1"), std::string::npos) << error.what();
      }
    }
    const float nan[] = {std::numeric_limits<float>::quiet_NaN(), 0};
    EXPECT_THROW(coded(*code, nan), NumericError);
  }
}

TEST(FloatCode, OtherKindsAreRefused) { EXPECT_THROW(make_float_code(CodeKind::scalar, 64), ConfigError); }

}  // namespace
}  // namespace veloxquant
