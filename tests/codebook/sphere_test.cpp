// Distortion and inner products on the unit sphere, d = 128, against theory from both sides.
#include <gtest/gtest.h>

#include <veloxquant/codebook/lloyd_max.hpp>
#include <veloxquant/codebook/trellis_codebook.hpp>

#include "codebook/samples.hpp"

namespace veloxquant {
namespace {

using testing::coded;
using testing::inner;
using testing::Statistics;

constexpr int kDim = 128;
constexpr double kLloydMax[] = {.3609, .1160, .0340, .00932};

TEST(Sphere, LloydMaxReachesItsDistortion) {
  const auto rows = testing::sphere_vectors(20000, kDim, 1);
  for (int bits = 1; bits <= 4; ++bits) {
    const double error = testing::mean_error(*make_scalar_code(bits, kDim, ScaleMode::one), rows);
    EXPECT_NEAR(error, kLloydMax[bits - 1], 0.005 * kLloydMax[bits - 1]) << bits;
    EXPECT_NEAR(error, LloydMaxCodebook(bits, kDim).distortion(), 0.004 * error) << bits;
  }
}

// Every size is coded with its own codebook, and more bits follow the solved distortions too.
TEST(Sphere, OtherSizesAndWidths) {
  for (const int d : {64, 80, 96, 112, 192, 256}) {
    const auto rows = testing::sphere_vectors(2000, d, 2);
    for (int bits = 1; bits <= 8; ++bits) {
      const double theory = LloydMaxCodebook(bits, d).distortion();
      // At 8 bits the rounding of the scale to f16 is a tenth of a percent of the error.
      EXPECT_NEAR(testing::mean_error(*make_scalar_code(bits, d, ScaleMode::one), rows), theory,
                  0.02 * theory)
          << d << " " << bits;
    }
  }
}

TEST(Sphere, TrellisReachesItsDistortion) {
  constexpr double kTrellis[] = {.281, .0769, .0212, .0058};
  const auto rows = testing::sphere_vectors(20000, kDim, 3);
  for (int bits = 1; bits <= 4; ++bits) {
    const double error = testing::mean_error(*make_trellis_code(bits, kDim, ScaleMode::one), rows);
    EXPECT_LE(error, 1.005 * kTrellis[bits - 1]) << bits;
    const double measured =
        TrellisCodebook(bits).distortion();  // when the table was trained, by other vectors
    EXPECT_NEAR(error, measured, 0.01 * measured) << bits;
    EXPECT_GE(error, std::pow(4.0, -bits)) << bits;  // no code beats the rate-distortion function
  }
}

// With the cosine c between a vector and its code point, matched norms give an error of 2 (1 - c) and
// unbiased scales 1 / c^2 - 1, whatever the code.
TEST(Sphere, ScaleModesFollowTheCosine) {
  const auto rows = testing::sphere_vectors(3000, kDim, 4);
  for (const bool trellis : {false, true})
    for (int bits = 1; bits <= 4; ++bits) {
      const auto make = [&](ScaleMode mode) {
        return trellis ? make_trellis_code(bits, kDim, mode) : make_scalar_code(bits, kDim, mode);
      };
      const auto one = make(ScaleMode::one);
      Statistics matched, unbiased;
      for (std::size_t v = 0; v < rows.size(); v += kDim) {
        const auto y = coded(*one, rows.data() + v);
        const double along = inner(y.data(), rows.data() + v, kDim);
        const double c = along / std::sqrt(inner(y.data(), y.data(), kDim) *
                                           inner(rows.data() + v, rows.data() + v, kDim));
        matched.add(2 * (1 - c));
        unbiased.add(1 / (c * c) - 1);
      }
      EXPECT_NEAR(testing::mean_error(*make(ScaleMode::matched), rows), matched.mean(),
                  0.001 * matched.mean());
      EXPECT_NEAR(testing::mean_error(*make(ScaleMode::unbiased), rows), unbiased.mean(),
                  0.001 * unbiased.mean());
    }
}

// Unit x and q with <q, x> = rho = 1/2.
constexpr double kRho = 0.5;

// The errors of <q, x'>.
Statistics inner_product_errors(const RowCode& code, const std::vector<float>& rows,
                                const std::vector<float>& other) {
  Statistics errors;
  for (std::size_t v = 0; v < rows.size(); v += kDim) {
    const float *x = rows.data() + v, *u = other.data() + v;
    const double along = inner(x, u, kDim), side = std::sqrt((1 - kRho * kRho) / (1 - along * along));
    float q[kDim];  // the part of u across x turned by rho towards x
    for (int c = 0; c < kDim; ++c) q[c] = static_cast<float>(kRho * x[c] + side * (u[c] - along * x[c]));
    errors.add(inner(q, coded(code, x).data(), kDim) - inner(q, x, kDim));
  }
  return errors;
}

// Mean zero, and the variance (1 / c^2 - 1) (1 - rho^2) / (d - 1), where 1 / c^2 - 1 is D / (1 - D) for codes
// of cell means and the relative squared error under the unbiased scale for all.
TEST(Sphere, UnbiasedInnerProducts) {
  constexpr double kVariance[] = {.430, .0974, .0260, .0069};
  const auto rows = testing::sphere_vectors(40000, kDim, 5), other = testing::sphere_vectors(40000, kDim, 6);
  for (int bits = 1; bits <= 4; ++bits) {
    const auto code = make_scalar_code(bits, kDim, ScaleMode::unbiased);
    const Statistics errors = inner_product_errors(*code, rows, other);
    const double distortion = LloydMaxCodebook(bits, kDim).distortion();
    const double theory = kDim * distortion / (1 - distortion) * (1 - kRho * kRho) / (kDim - 1);
    EXPECT_LT(std::fabs(errors.mean()), 3 * errors.standard_error()) << bits;
    EXPECT_NEAR(kDim * errors.variance(), theory, 0.03 * theory) << bits;
    EXPECT_NEAR(kDim * errors.variance(), kVariance[bits - 1], 0.03 * kVariance[bits - 1]) << bits;
  }
}

TEST(Sphere, UnbiasedInnerProductsOfTheTrellis) {
  const auto rows = testing::sphere_vectors(15000, kDim, 8), other = testing::sphere_vectors(15000, kDim, 9);
  for (int bits = 1; bits <= 4; ++bits) {
    const auto code = make_trellis_code(bits, kDim, ScaleMode::unbiased);
    const Statistics errors = inner_product_errors(*code, rows, other);
    const double theory = testing::mean_error(*code, rows) * (1 - kRho * kRho) / (kDim - 1);
    EXPECT_LT(std::fabs(errors.mean()), 3 * errors.standard_error()) << bits;
    EXPECT_NEAR(errors.variance(), theory, 0.04 * theory) << bits;
  }
}

// With scale one, inner products shrink by exactly the distortion of a codebook of cell means.
TEST(Sphere, ScaleOneShrinksByTheDistortion) {
  const auto rows = testing::sphere_vectors(40000, kDim, 7);
  constexpr double kShrink[] = {.361, .116, .0340, .0093};
  for (int bits = 1; bits <= 4; ++bits) {
    const auto code = make_scalar_code(bits, kDim, ScaleMode::one);
    Statistics shrink;
    for (std::size_t v = 0; v < rows.size(); v += kDim) {
      const float* x = rows.data() + v;
      shrink.add(1 - inner(x, coded(*code, x).data(), kDim) / inner(x, x, kDim));
    }
    EXPECT_NEAR(shrink.mean(), kShrink[bits - 1], 3 * shrink.standard_error() + 5e-5) << bits;
    const double distortion = LloydMaxCodebook(bits, kDim).distortion();
    EXPECT_NEAR(shrink.mean(), distortion, 3 * shrink.standard_error()) << bits;
  }
}

}  // namespace
}  // namespace veloxquant
