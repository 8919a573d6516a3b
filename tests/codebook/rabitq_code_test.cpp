// The grid code of RaBitQ: the best point by exhaustion, its scale, its distortion, and unbiased inner
// products.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include <veloxquant/core/error.hpp>
#include <veloxquant/core/half.hpp>

#include "codebook/grid_search.hpp"
#include "codebook/samples.hpp"
#include "cpu_levels.hpp"
#include "pack/bits.hpp"

namespace veloxquant {
namespace {

using testing::coded;
using testing::encode;
using testing::inner;
using testing::normal_values;
using testing::Statistics;

double cosine(const float* a, const float* b, int d) {
  return inner(a, b, d) / std::sqrt(inner(a, a, d) * inner(b, b, d));
}

double cosine_of(const RowCode& code, const float* x) {
  return cosine(x, coded(code, x).data(), code.spec().head_dim);
}

// The largest cosine of all points of the grid, one by one.
double largest_cosine(int bits, const std::vector<float>& x) {
  const std::size_t d = x.size(), levels = std::size_t{1} << (bits - 1);
  std::vector<std::size_t> k(d, 0);
  double best = 0;
  for (std::size_t c = 0; c < d;) {
    double product = 0, square = 0, norm = 0;
    for (std::size_t i = 0; i < d; ++i) {
      const double y = static_cast<double>(k[i]) + 0.5, m = std::fabs(x[i]);
      product += y * m, square += y * y, norm += m * m;
    }
    best = std::max(best, product / std::sqrt(square * norm));
    for (c = 0; c < d && ++k[c] == levels; ++c) k[c] = 0;
  }
  return best;
}

// The path as its definition has it: every step of every coordinate, in order.
double largest_cosine_of_path(int bits, const float* x, int d) {
  struct Step {
    double t, magnitude;
    int level;
  };
  std::vector<Step> steps;
  double n = 0, q = 0.25 * d;
  for (int c = 0; c < d; ++c) {
    const double m = std::fabs(x[c]);
    n += 0.5 * m;
    for (int k = 1; k < 1 << (bits - 1) && m > 0; ++k) steps.push_back({k / m, m, k});
  }
  std::sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) { return a.t < b.t; });
  double best = n / std::sqrt(q);
  for (const Step& step : steps) {
    n += step.magnitude;
    q += 2.0 * step.level;
    best = std::max(best, n / std::sqrt(q));
  }
  return best / std::sqrt(inner(x, x, d));
}

// Gaussian, one spike, two spikes, equal magnitudes, some zeros, a ramp, a wide spread.
std::vector<std::vector<float>> odd_vectors(int d) {
  const auto width = static_cast<std::size_t>(d);
  std::vector<std::vector<float>> vectors(7, std::vector<float>(width, 0.0f));
  vectors[0] = vectors[6] = normal_values(width, 71);
  vectors[1][width / 2] = -5;
  vectors[2][0] = 3, vectors[2][width - 1] = -1;
  for (std::size_t c = 0; c < width; ++c) {
    vectors[3][c] = c % 3 == 0 ? -0.7f : 0.7f;
    vectors[4][c] = c % 2 == 0 ? 0.0f : vectors[0][c];
    vectors[5][c] = static_cast<float>(c) - 0.25f;
    vectors[6][c] *= std::ldexp(1.0f, -static_cast<int>(c % 24));
  }
  return vectors;
}

TEST(RabitqCode, FindsTheBestPointOfTheGrid) {
  for (const auto& [bits, d] :
       std::vector<std::pair<int, int>>{{1, 8}, {2, 8}, {2, 10}, {3, 6}, {4, 4}, {5, 4}, {8, 2}}) {
    const auto code = make_rabitq_code(bits, d, ScaleMode::matched);
    auto vectors = odd_vectors(d);
    for (std::uint64_t seed = 0; seed < 40; ++seed)
      vectors.push_back(normal_values(static_cast<std::size_t>(d), seed));
    for (const auto& x : vectors)
      EXPECT_NEAR(cosine_of(*code, x.data()), largest_cosine(bits, x), 1e-6) << bits << " bits, " << d;
  }
}

TEST(RabitqCode, FindsTheBestPointOfTheWholePath) {
  for (const int d : {18, 64, 100, 128, 256})
    for (int bits = 1; bits <= 8; ++bits) {
      const auto code = make_rabitq_code(bits, d, ScaleMode::matched);
      auto vectors = odd_vectors(d);
      for (std::uint64_t seed = 0; seed < 10; ++seed)
        vectors.push_back(normal_values(static_cast<std::size_t>(d), seed));
      for (const auto& x : vectors) {
        const double best = largest_cosine_of_path(bits, x.data(), d);
        // In terms of the error, of which as little as 3e-5 is left.
        EXPECT_NEAR(1 - cosine_of(*code, x.data()), 1 - best, 1e-3 * (1 - best) + 2e-8)
            << bits << " bits, " << d;
      }
    }
}

TEST(RabitqCode, StoresSignsAndLevels) {
  const int d = 6;
  const float z[d] = {1.9f, -0.1f, 0.0f, -0.0f, 0.9f, -1.2f};
  std::int32_t levels[d];
  for (int bits = 1; bits <= 8; ++bits) {
    GridSearch(bits, d).find(z, levels);
    const auto code = make_rabitq_code(bits, d, ScaleMode::unbiased);
    const auto& table = *code->spec().table;
    ASSERT_EQ(table.size(), std::size_t{1} << bits);
    const auto row = encode(*code, z);
    for (int c = 0; c < d; ++c) {
      const unsigned u = read_bits(row.codes.data(), static_cast<std::size_t>(c * bits), bits);
      const double y = (levels[c] + 0.5) * std::ldexp(1.0, 2 - bits);
      EXPECT_EQ(table[u], std::signbit(z[c]) ? -y : y) << bits << " bits, coordinate " << c;
      EXPECT_EQ(u >> (bits - 1), std::signbit(z[c]) ? 0u : 1u);
    }
  }
}

TEST(RabitqCode, EveryLevelFindsTheSameCodes) {
  constexpr std::size_t kRows = 20;
  for (const int d : {18, 64, 100, 128, 256})
    for (int bits = 1; bits <= 8; ++bits) {
      const auto width = static_cast<std::size_t>(d);
      auto x = normal_values(kRows * width, 77);
      std::fill_n(x.begin(), width, 0.0f);
      std::size_t row = 1;
      for (const auto& odd : odd_vectors(d))
        std::copy(odd.begin(), odd.end(), x.begin() + static_cast<std::ptrdiff_t>(row++ * width));
      const auto code = make_rabitq_code(bits, d, ScaleMode::unbiased);
      std::vector<std::uint8_t> codes, scales;
      for (std::size_t i = 0; i < kRows; ++i) {
        const auto alone = encode(*code, x.data() + i * width);
        codes.insert(codes.end(), alone.codes.begin(), alone.codes.end());
        scales.insert(scales.end(), alone.scales.begin(), alone.scales.end());
      }
      test::on_every_cpu_level([&](const std::string& level) {
        std::vector<std::uint8_t> row_codes(codes.size()), row_scales(scales.size());
        code->encode_rows(x.data(), kRows, row_codes.data(), row_scales.data());
        EXPECT_EQ(row_codes, codes) << level << ", " << bits << " bits, " << d;
        EXPECT_EQ(row_scales, scales) << level << ", " << bits << " bits, " << d;
      });
    }
}

TEST(RabitqCode, ScalesFollowTheirDefinitions) {
  for (const int d : {64, 80, 128})
    for (int bits = 1; bits <= 8; ++bits) {
      const auto x = normal_values(static_cast<std::size_t>(d), 13);
      const auto unbiased = coded(*make_rabitq_code(bits, d, ScaleMode::unbiased), x.data());
      const auto matched = coded(*make_rabitq_code(bits, d, ScaleMode::matched), x.data());
      const double xx = inner(x.data(), x.data(), d);
      EXPECT_NEAR(inner(unbiased.data(), x.data(), d), xx, xx * 6e-4);
      EXPECT_NEAR(inner(matched.data(), matched.data(), d), xx, xx * 1.1e-3);
    }
}

TEST(RabitqCode, HandlesTheEndsOfTheRange) {
  for (int bits = 1; bits <= 8; ++bits) {
    const auto code = make_rabitq_code(bits, 80, ScaleMode::unbiased);
    for (const float magnitude : {0.0f, 1e-45f, 1e-20f, 1e-13f}) {
      for (const float y : coded(*code, std::vector<float>(80, magnitude).data())) ASSERT_EQ(y, 0.0f);
    }
    auto x = normal_values(80, 29);
    for (float& value : x) value *= 1e4f;
    EXPECT_NO_THROW(encode(*code, x.data()));
    for (const float factor : {1e2f, 1e20f, 1e33f}) {
      auto huge = x;
      for (float& value : huge) value *= factor;
      EXPECT_THROW(encode(*code, huge.data()), NumericError) << bits;
    }
    for (const float broken : {INFINITY, -INFINITY, NAN}) {  // as a transform may leave them
      x[7] = broken;
      EXPECT_THROW(encode(*code, x.data()), NumericError) << bits;
    }
  }
}

TEST(RabitqCode, RefusesWhatHasNoMeaning) {
  EXPECT_THROW(make_rabitq_code(0, 128, ScaleMode::unbiased), ConfigError);
  EXPECT_THROW(make_rabitq_code(9, 128, ScaleMode::unbiased), ConfigError);
  EXPECT_THROW(make_rabitq_code(4, 127, ScaleMode::unbiased), ConfigError);
  EXPECT_THROW(make_rabitq_code(4, 4098, ScaleMode::unbiased), ConfigError);
  EXPECT_THROW(make_rabitq_code(4, 128, ScaleMode::one), ConfigError);
}

constexpr int kDim = 128;

// 1 - cos^2, the error under the scale of least error, on uniform unit vectors, from both sides.
TEST(RabitqSphere, ReachesTheDistortionOfTheGrid) {
  constexpr double kGrid[] = {.3608, .1161, .0351, .0099, .00257, .00063, .00015, .00004};
  constexpr double kHalfDigit[] = {.00005, .00005, .00005, .00005, .000005, .000005, .000005, .000005};
  for (int bits = 1; bits <= 8; ++bits) {
    const auto rows = testing::sphere_vectors(bits <= 4 ? 20000 : 4000, kDim, 11);
    const auto code = make_rabitq_code(bits, kDim, ScaleMode::unbiased);
    Statistics errors;
    for (std::size_t v = 0; v < rows.size(); v += kDim) {
      const double c = cosine_of(*code, rows.data() + v);
      errors.add(1 - c * c);
    }
    EXPECT_NEAR(errors.mean(), kGrid[bits - 1], .02 * kGrid[bits - 1] + kHalfDigit[bits - 1]) << bits;
    RecordProperty("distortion_" + std::to_string(bits), std::to_string(errors.mean()));
  }
}

// Unit x and q at cosine 1/2: mean zero, and the variance (1 / c^2 - 1) (1 - rho^2) / (d - 1).
TEST(RabitqSphere, InnerProductsAreUnbiased) {
  constexpr double kVariance[] = {.429, .0991, .0277, .0075};
  constexpr double kRho = 0.5;
  const auto rows = testing::sphere_vectors(40000, kDim, 12),
             other = testing::sphere_vectors(40000, kDim, 13);
  for (int bits = 1; bits <= 4; ++bits) {
    const auto code = make_rabitq_code(bits, kDim, ScaleMode::unbiased);
    Statistics errors, distortion;
    for (std::size_t v = 0; v < rows.size(); v += kDim) {
      const float *x = rows.data() + v, *u = other.data() + v;
      const double along = inner(x, u, kDim), side = std::sqrt((1 - kRho * kRho) / (1 - along * along));
      float q[kDim];
      for (int c = 0; c < kDim; ++c) q[c] = static_cast<float>(kRho * x[c] + side * (u[c] - along * x[c]));
      const auto y = coded(*code, x);
      errors.add(inner(q, y.data(), kDim) - inner(q, x, kDim));
      const double c = cosine(x, y.data(), kDim);
      distortion.add(1 / (c * c) - 1);
    }
    const double theory = kDim * distortion.mean() * (1 - kRho * kRho) / (kDim - 1);
    EXPECT_LT(std::fabs(errors.mean()), 3 * errors.standard_error()) << bits;
    EXPECT_NEAR(kDim * errors.variance(), theory, 0.03 * theory) << bits;
    EXPECT_NEAR(kDim * errors.variance(), kVariance[bits - 1], 0.03 * kVariance[bits - 1]) << bits;
  }
}

}  // namespace
}  // namespace veloxquant
