// Codes with one scale a vector: scalar and trellis.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include <veloxquant/core/error.hpp>
#include <veloxquant/core/half.hpp>

#include "codebook/row_math.hpp"
#include "codebook/samples.hpp"
#include "codebook/scalar_table.hpp"
#include "codebook/vector_scale.hpp"
#include "cpu_levels.hpp"
#include "pack/bits.hpp"

namespace veloxquant {
namespace {

using testing::coded;
using testing::encode;
using testing::inner;
using testing::normal_values;

constexpr ScaleMode kModes[] = {ScaleMode::one, ScaleMode::matched, ScaleMode::unbiased};
constexpr int kHeadDims[] = {64, 80, 96, 112, 128, 192, 256};

float scale_of(const testing::CodedRow& row) {
  f16 scale;
  std::memcpy(&scale, row.scales.data(), 2);
  return to_f32(scale);
}

std::vector<std::unique_ptr<RowCode>> all_codes(int d, ScaleMode mode) {
  std::vector<std::unique_ptr<RowCode>> codes;
  for (int bits = 1; bits <= 8; ++bits) codes.push_back(make_scalar_code(bits, d, mode));
  for (int bits = 1; bits <= 4; ++bits) codes.push_back(make_trellis_code(bits, d, mode));
  return codes;
}

TEST(ScalarCode, CodesAreTheNearestCentroids) {
  for (const int d : kHeadDims)
    for (int bits = 1; bits <= 8; ++bits) {
      const auto code = make_scalar_code(bits, d, ScaleMode::one);
      const auto& table = *code->spec().table;
      ASSERT_EQ(table.size(), std::size_t{1} << bits);
      const auto x = normal_values(static_cast<std::size_t>(d), 11);
      const auto row = encode(*code, x.data());
      const double rms = std::sqrt(inner(x.data(), x.data(), d) / d);
      for (int c = 0; c < d; ++c) {
        const double z = x[c] / rms;
        const double chosen = table[read_bits(row.codes.data(), static_cast<std::size_t>(c * bits), bits)];
        for (const float other : table)
          ASSERT_LE(std::fabs(z - chosen), std::fabs(z - other) + 1e-6) << d << " " << bits;
      }
    }
}

// Every width has a search of its own; index() arbitrates.
TEST(ScalarCode, EveryLevelFindsTheSameIndices) {
  for (int bits = 1; bits <= 8; ++bits) {
    const auto table = lloyd_max_table(bits, 128);
    std::vector<float> x = normal_values(300, 31);
    for (const float threshold : table->thresholds)
      for (const float near : {threshold, std::nextafter(threshold, -9.0f), std::nextafter(threshold, 9.0f)})
        x.push_back(near);
    for (const float special : {0.0f, -0.0f, 1e-45f, -1e-45f, 100.0f, -100.0f, 3e38f, -3e38f})
      x.push_back(special);
    test::on_every_cpu_level([&](const std::string& level) {
      for (const int count : {static_cast<int>(x.size()), 128, 37, 1, 0}) {
        const auto n = static_cast<std::size_t>(count);
        std::vector<std::uint8_t> index(n);
        std::vector<float> y(n);
        const float* from = x.data() + x.size() - n;
        table->quantize(from, count, index.data(), y.data());
        for (std::size_t i = 0; i < n; ++i) {
          ASSERT_EQ(index[i], table->index(from[i])) << level << ", " << bits << " bits, " << from[i];
          ASSERT_EQ(y[i], (*table->centroids)[index[i]]);
        }
      }
    });
  }
}

TEST(VectorScale, EveryLevelFollowsTheFixedOrder) {
  constexpr std::size_t kRows = 70;
  for (const int d : {2, 18, 66, 100, 128}) {
    const auto width = static_cast<std::size_t>(d);
    auto x = normal_values(kRows * width, 37);
    std::fill_n(x.begin(), width, 0.0f);
    // Points that lie against their vectors here and there, which `unbiased` has a rule for.
    const auto y = normal_values(kRows * width, 41);
    test::on_every_cpu_level([&](const std::string& level) {
      std::vector<float> z(x.size());
      std::vector<double> r(kRows);
      to_unit_variance(x.data(), kRows, d, z.data(), r.data());
      for (const ScaleMode mode : kModes) {
        std::vector<std::uint8_t> scales(2 * kRows);
        store_vector_scales(mode, r.data(), z.data(), y.data(), kRows, d, scales.data());
        for (std::size_t i = 0; i < kRows; ++i) {
          const float *row = x.data() + i * width, *unit = z.data() + i * width,
                      *point = y.data() + i * width;
          const double rms = std::sqrt(dot(row, row, d) / d);
          ASSERT_EQ(r[i], rms) << level << " " << d;
          const float inverse = i == 0 ? 0.0f : static_cast<float>(1 / rms);
          for (int c = 0; c < d; ++c) ASSERT_EQ(unit[c], row[c] * inverse) << level << " " << d;
          const double along = dot(point, unit, d);
          const double factor = mode == ScaleMode::one ? 1
                                : mode == ScaleMode::unbiased && along > 0
                                    ? d / along
                                    : std::sqrt(d / dot(point, point, d));
          std::uint8_t expected[2];
          store_f16(rms == 0 ? 0 : rms * factor, "scale", expected, 0);
          ASSERT_EQ(std::memcmp(scales.data() + 2 * i, expected, 2), 0) << level << " " << d << " " << i;
        }
      }
    });
  }
}

TEST(VectorCode, RowsAreCodedAsTheyAreAlone) {
  constexpr std::size_t kRows = 35;
  for (const int d : {18, 64, 128, 256}) {
    const auto width = static_cast<std::size_t>(d);
    const auto x = normal_values(kRows * width, 43);
    for (const auto& code : all_codes(d, ScaleMode::unbiased)) {
      std::vector<std::uint8_t> codes, scales;
      for (std::size_t i = 0; i < kRows; ++i) {
        const auto row = encode(*code, x.data() + i * width);
        codes.insert(codes.end(), row.codes.begin(), row.codes.end());
        scales.insert(scales.end(), row.scales.begin(), row.scales.end());
      }
      test::on_every_cpu_level([&](const std::string& level) {
        std::vector<std::uint8_t> row_codes(codes.size()), row_scales(scales.size());
        code->encode_rows(x.data(), kRows, row_codes.data(), row_scales.data());
        EXPECT_EQ(row_codes, codes) << level << " " << code->spec().name() << " " << d;
        EXPECT_EQ(row_scales, scales) << level << " " << code->spec().name() << " " << d;
      });
    }
  }
}

TEST(VectorCode, ScalesFollowTheirDefinitions) {
  for (const int d : kHeadDims)
    for (const ScaleMode mode : kModes)
      for (const auto& code : all_codes(d, mode)) {
        const auto x = normal_values(static_cast<std::size_t>(d), 13);
        const auto row = encode(*code, x.data());
        // The code point is what decodes with a scale of one.
        std::vector<float> y(static_cast<std::size_t>(d));
        const f16 one = to_f16(1.0f);
        std::uint8_t unit[2];
        std::memcpy(unit, &one, 2);
        decode_row(code->spec(), row.codes.data(), unit, y.data());
        const double xx = inner(x.data(), x.data(), d), yy = inner(y.data(), y.data(), d);
        const double xy = inner(x.data(), y.data(), d);
        const double expected = mode == ScaleMode::one       ? std::sqrt(xx / d)
                                : mode == ScaleMode::matched ? std::sqrt(xx / yy)
                                                             : xx / xy;
        EXPECT_NEAR(scale_of(row), expected, expected * (0x1p-11 + 1e-5)) << code->spec().name() << " " << d;
        const auto decoded = coded(*code, x.data());
        for (int c = 0; c < d; ++c) ASSERT_EQ(decoded[c], scale_of(row) * y[c]);
      }
}

TEST(VectorCode, ScaleDoesNotTouchTheCodes) {
  const auto x = normal_values(128, 17);
  for (std::size_t i = 0; i < all_codes(128, ScaleMode::one).size(); ++i) {
    const auto codes = encode(*all_codes(128, ScaleMode::one)[i], x.data()).codes;
    EXPECT_EQ(encode(*all_codes(128, ScaleMode::matched)[i], x.data()).codes, codes);
    EXPECT_EQ(encode(*all_codes(128, ScaleMode::unbiased)[i], x.data()).codes, codes);
  }
}

TEST(VectorCode, PowersOfTwoMoveIntoTheScale) {
  const auto x = normal_values(96, 19);
  auto doubled = x;
  for (float& value : doubled) value *= 2;
  for (const auto& code : all_codes(96, ScaleMode::unbiased)) {
    const auto a = encode(*code, x.data()), b = encode(*code, doubled.data());
    EXPECT_EQ(a.codes, b.codes);
    EXPECT_EQ(2 * scale_of(a), scale_of(b));
  }
}

TEST(VectorCode, ZeroAndVanishingVectorsDecodeToZeros) {
  for (const ScaleMode mode : kModes)
    for (const auto& code : all_codes(80, mode))
      for (const float magnitude : {0.0f, 1e-45f, 1e-38f, 1e-20f, 1e-9f}) {
        const std::vector<float> x(80, magnitude);
        for (const float y : coded(*code, x.data()))
          ASSERT_EQ(y, 0.0f) << code->spec().name() << " " << magnitude;
      }
}

TEST(VectorCode, SmallScalesAreSubnormalButRight) {
  auto x = normal_values(128, 23);
  for (float& value : x) value *= 1e-5f;
  for (const auto& code : all_codes(128, ScaleMode::matched)) {
    const auto y = coded(*code, x.data());
    EXPECT_NEAR(inner(y.data(), y.data(), 128) / inner(x.data(), x.data(), 128), 1, 0.01);
  }
}

TEST(VectorCode, ScalesBeyondF16AreErrors) {
  for (const ScaleMode mode : kModes)
    for (const auto& code : all_codes(64, mode)) {
      auto x = normal_values(64, 29);
      for (float& value : x) value *= 1e4f;
      EXPECT_NO_THROW(encode(*code, x.data())) << code->spec().name();
      for (const float factor : {1e2f, 1e20f, 1e33f}) {
        auto huge = x;
        for (float& value : huge) value *= factor;
        EXPECT_THROW(encode(*code, huge.data()), NumericError) << code->spec().name();
      }
    }
}

TEST(VectorCode, SpikesStayFinite) {
  for (const auto& code : all_codes(128, ScaleMode::unbiased)) {
    std::vector<float> x(128, 0.0f);
    x[77] = -5;
    const auto y = coded(*code, x.data());
    EXPECT_NEAR(inner(x.data(), y.data(), 128), 25, 0.1) << code->spec().name();
  }
}

TEST(VectorCode, RefusesOtherWidthsAndSizes) {
  EXPECT_THROW(make_scalar_code(0, 128, ScaleMode::one), ConfigError);
  EXPECT_THROW(make_scalar_code(9, 128, ScaleMode::one), ConfigError);
  EXPECT_THROW(make_scalar_code(4, 127, ScaleMode::one), ConfigError);
  EXPECT_THROW(make_trellis_code(5, 128, ScaleMode::one), ConfigError);
  EXPECT_THROW(make_trellis_code(2, 8, ScaleMode::one), ConfigError);
}

}  // namespace
}  // namespace veloxquant
