// What the rotations make of vectors that no codebook was made for.
#include <gtest/gtest.h>

#include <veloxquant/codebook/lloyd_max.hpp>
#include <veloxquant/transform/hadamard.hpp>
#include <veloxquant/transform/rotation.hpp>

#include "codebook/samples.hpp"

namespace veloxquant {
namespace {

using testing::Statistics;

constexpr int kDim = 128;

// One-hot, few spikes, constant, alternating ramp, two dominant channels over noise, and a sparse vector: at
// large angles to each other, so that what one rotation makes of them is nearly independent.
std::vector<std::vector<float>> fixed_vectors(int d) {
  std::vector<std::vector<float>> vectors(6, std::vector<float>(static_cast<std::size_t>(d), 0.0f));
  vectors[0][5] = 3;
  vectors[1][0] = 1, vectors[1][11] = -0.61f, vectors[1][static_cast<std::size_t>(d) - 1] = 0.37f;
  vectors[4] = testing::normal_values(static_cast<std::size_t>(d), 99);
  vectors[4][3] = 30, vectors[4][40] = -21;
  for (int c = 0; c < d; ++c) {
    const auto at = static_cast<std::size_t>(c);
    vectors[2][at] = 1;
    vectors[3][at] = static_cast<float>(c % 2 ? c : -c);
    vectors[5][at] = c % 9 == 0 ? static_cast<float>(c % 7) - 3.1f : 0.01f;
  }
  return vectors;
}

double error_of(const LloydMaxCodebook& book, const float* rotated, const float* x, int d) {
  const double rms = std::sqrt(testing::inner(x, x, d) / d);
  double error = 0;
  for (int c = 0; c < d; ++c) {
    const double z = rotated[c] / rms, off = z - book.centroids()[book.index(static_cast<float>(z))];
    error += off * off;
  }
  return error / d;
}

TEST(Rotated, HaarMakesEveryVectorUniform) {
  const auto vectors = fixed_vectors(kDim);
  Statistics errors[4];
  for (std::uint64_t seed = 0; seed < 1500; ++seed) {
    const HaarRotation rotation(kDim, seed);
    for (const auto& x : vectors) {
      float y[kDim];
      rotation.apply_row(x.data(), y);
      for (int bits = 1; bits <= 4; ++bits)
        errors[bits - 1].add(testing::relative_error(
            y, testing::coded(*make_scalar_code(bits, kDim, ScaleMode::one), y).data(), kDim));
    }
  }
  constexpr double kLloydMax[] = {.3609, .1160, .0340, .00932};
  for (int b = 0; b < 4; ++b) {
    EXPECT_NEAR(errors[b].mean(), kLloydMax[b], 3 * errors[b].standard_error()) << b + 1;
    EXPECT_LT(errors[b].standard_error(), 0.003 * kLloydMax[b]) << b + 1;
  }
}

double spike_error(int spikes, int rounds, const LloydMaxCodebook& book) {
  SplitMix64 random(static_cast<std::uint64_t>(100 * spikes + rounds));
  Statistics errors;
  for (std::uint64_t seed = 0; seed < 4000; ++seed) {
    const HadamardTransform transform(kDim, seed, rounds);
    float x[kDim] = {}, y[kDim];
    for (int set = 0; set < spikes;) {
      float& at = x[random.below(kDim)];
      if (at == 0) at = random.next() >> 63 ? 1.0f : -1.0f, ++set;
    }
    transform.apply_row(x, y);
    errors.add(error_of(book, y, x, kDim));
  }
  return errors.mean();
}

// One round turns a one-hot vector into coordinates of one magnitude, at the far end of a cell. A second
// round brings back what a dense rotation gives, but for a remainder: equal spikes leave coordinates on a
// grid of step 2 / sqrt(128) or sqrt(2) times that, which centroids meet better or worse.
TEST(Rotated, SecondHadamardRoundMendsSpikes) {
  constexpr double kOneRound[] = {.2605, .0595, .0033}, kTwoRounds[] = {.1176, .0367, .0097};
  for (int bits = 2; bits <= 4; ++bits) {
    const LloydMaxCodebook book(bits);  // the normal distribution's
    EXPECT_NEAR(spike_error(1, 1, book), kOneRound[bits - 2], 6e-5) << bits;
    EXPECT_NEAR(spike_error(1, 2, book), kTwoRounds[bits - 2], 0.015 * kTwoRounds[bits - 2]) << bits;
    double mean = 0;
    for (const int spikes : {1, 2, 3, 4}) mean += spike_error(spikes, 2, book) / 4;
    EXPECT_NEAR(mean, kTwoRounds[bits - 2], 0.08 * kTwoRounds[bits - 2]) << bits;
  }
}

// Also where the size is no power of two, and where it is split into blocks.
TEST(Rotated, HadamardServesAllSizes) {
  for (const int d : {64, 80, 96, 112, 128, 192, 256, 100, 92, 66}) {
    const auto vectors = fixed_vectors(d);
    for (int bits = 2; bits <= 4; ++bits) {
      const LloydMaxCodebook book(bits, d);
      std::vector<Statistics> errors(vectors.size());
      for (std::uint64_t seed = 0; seed < 600; ++seed) {
        const HadamardTransform transform(d, seed);
        for (std::size_t v = 0; v < vectors.size(); ++v) {
          std::vector<float> y(static_cast<std::size_t>(d));
          transform.apply_row(vectors[v].data(), y.data());
          errors[v].add(error_of(book, y.data(), vectors[v].data(), d));
        }
      }
      for (std::size_t v = 0; v < vectors.size(); ++v) {
        // The one-hot vector keeps the remainder of the test above, largest at 64.
        const double ratio = errors[v].mean() / book.distortion();
        EXPECT_LT(ratio, v == 0 ? 1.5 : 1.08) << d << " " << bits << " " << v;
        EXPECT_GT(ratio, 0.92) << d << " " << bits << " " << v;
      }
    }
  }
}

}  // namespace
}  // namespace veloxquant
