// Codebooks of product codes on data whose distortion is known, and the sample that they are trained on.
#include "calibration/product_training.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <veloxquant/core/error.hpp>

#include "calibration/reservoir.hpp"
#include "codebook/product_code.hpp"
#include "codebook/product_table.hpp"
#include "codebook/samples.hpp"
#include "cpu_levels.hpp"

namespace veloxquant {
namespace {

using testing::normal_values;

// Relative error on vectors that the training has not seen.
double fresh_error(const ProductTraining& training, std::size_t samples) {
  const auto dims = static_cast<std::size_t>(training.dims);
  const ProductCodebook codebook = train_product(normal_values(samples * dims, 1), training);
  const auto code = make_product_code(codebook.centroids, training.bits, training.dims, 128, ScaleMode::one);
  const std::vector<float> x = normal_values(3000 * 128, 2);
  return testing::mean_error(*code, x);
}

// Good quantizers of 4 coordinates have about .097 and .026, of 8 coordinates at one bit .326. Of many centroids
// none has less than G 2 pi ((k + 2) / k)^((k + 2) / 2) 4^-b (Zador), with the lattice D4 .0254 at 3 bits.
TEST(ProductTraining, GaussianVectorsAtOneBit) {
  const double error = fresh_error({.bits = 8, .dims = 8}, 32768);
  EXPECT_GT(error, 0.320);
  EXPECT_LE(error, 0.335);
}

TEST(ProductTraining, GaussianVectorsAtTwoBits) {
  const double error = fresh_error({.bits = 8, .dims = 4}, 32768);
  EXPECT_GT(error, 0.0955);
  EXPECT_LE(error, 0.100);
}

TEST(ProductTraining, GaussianVectorsAtThreeBits) {
  const double error = fresh_error({.bits = 12, .dims = 4}, 131072);
  EXPECT_GT(error, 0.0254);
  EXPECT_LE(error, 0.0285);
}

// 256 points that lie far apart are found, each by one centroid.
TEST(ProductTraining, FindsClusters) {
  const std::vector<float> points = normal_values(256 * 4, 3), noise = normal_values(256 * 40 * 4, 4);
  std::vector<float> samples;
  for (std::size_t i = 0; i < noise.size(); ++i)
    samples.push_back(100 * points[i / 4 % 256 * 4 + i % 4] + 0.01f * noise[i]);
  const ProductCodebook codebook = train_product(samples, {.bits = 8, .dims = 4});
  // A cluster that shares its centroid with another would cost some thousandths.
  EXPECT_LT(codebook.distortion, 1e-4f);
  EXPECT_EQ(codebook.centroids.size(), 1024u);
}

TEST(ProductTraining, SamplesAndSeedDecideAlone) {
  const std::vector<float> samples = normal_values(8192 * 4, 5);
  const ProductTraining training{.bits = 8, .dims = 4, .seed = 7};
  const ProductCodebook once = train_product(samples, training);
  test::on_every_cpu_level([&](const std::string& level) {
    const ProductCodebook again = train_product(samples, training);
    EXPECT_EQ(again.centroids, once.centroids) << level;
    EXPECT_EQ(again.distortion, once.distortion) << level;
  });
  EXPECT_NE(train_product(samples, {.bits = 8, .dims = 4, .seed = 8}).centroids, once.centroids);
}

TEST(ProductTraining, ReportsTheDistortionOfItsSamples) {
  const std::vector<float> samples = normal_values(4096 * 8, 6);
  const ProductCodebook codebook = train_product(samples, {.bits = 8, .dims = 8});
  const ProductTable table(codebook.centroids, 8, 8);
  double error = 0, energy = 0;
  for (std::size_t i = 0; i < samples.size(); i += 8) {
    const float* centroid = codebook.centroids.data() + 8 * table.nearest(samples.data() + i);
    for (std::size_t c = 0; c < 8; ++c) {
      const double difference = static_cast<double>(samples[i + c]) - centroid[c];
      error += difference * difference;
      energy += static_cast<double>(samples[i + c]) * samples[i + c];
    }
  }
  EXPECT_NEAR(codebook.distortion, error / energy, 1e-5);
}

TEST(ProductTraining, EqualSamplesAreNoDifficulty) {
  const ProductCodebook codebook = train_product(std::vector<float>(4096, 2.0f), {.bits = 8, .dims = 4});
  EXPECT_EQ(codebook.distortion, 0.0f);
  EXPECT_EQ(train_product(std::vector<float>(4096, 0.0f), {.bits = 8, .dims = 4}).distortion, 0.0f);
}

TEST(ProductTraining, RefusesTooFewSamples) {
  EXPECT_THROW(train_product(normal_values(1023 * 4, 1), {.bits = 8, .dims = 4}), ConfigError);
  EXPECT_NO_THROW(train_product(normal_values(1024 * 4, 1), {.bits = 8, .dims = 4}));
}

TEST(RowReservoir, HoldsAUniformSampleOfAllRows) {
  constexpr int kStreams = 400, kRows = 100;
  std::vector<int> held(kRows);
  for (std::uint64_t seed = 0; seed < kStreams; ++seed) {
    RowReservoir reservoir(2, 10, seed);
    for (int i = 0; i < kRows; ++i) {
      const float row[2] = {static_cast<float>(i), static_cast<float>(-2 * i)};
      reservoir.add(row, 1, static_cast<std::uint64_t>(i));
    }
    ASSERT_EQ(reservoir.rows(), 10u);
    std::set<float> distinct;
    const std::vector<float> sample = reservoir.sample();
    for (std::size_t r = 0; r < 10; ++r) {
      const float* row = sample.data() + 2 * r;
      EXPECT_EQ(row[1], -2 * row[0]);
      distinct.insert(row[0]);
      ++held[static_cast<std::size_t>(row[0])];
    }
    EXPECT_EQ(distinct.size(), 10u);
  }
  // Binomial: 40 of 400 each, standard deviation 6; sum of squares of 100 deviations about 100.
  double chi = 0;
  for (const int count : held) chi += (count - 40.0) * (count - 40.0) / 36;
  EXPECT_NEAR(chi, 100, 45);
}

// The rows decide, not the order in which they come, nor who has seen them.
TEST(RowReservoir, PiecesDoNotMatterAndTheLargestOfAllRowsIsKept) {
  std::vector<float> rows = normal_values(500 * 3, 1);
  rows[3 * 250 + 1] = -77;
  RowReservoir whole(3, 20, 5), pieces(3, 20, 5), few(3, 20, 5);
  whole.add(rows.data(), 500, 0);
  for (const std::size_t at : {300, 0, 400, 100, 200}) pieces.add(rows.data() + 3 * at, 100, at);
  EXPECT_EQ(whole.sample(), pieces.sample());
  EXPECT_EQ(whole.rows(), 20u);
  EXPECT_EQ(whole.largest()[1], 77.0f);
  few.add(rows.data(), 7, 0);
  EXPECT_EQ(few.sample(), std::vector<float>(rows.begin(), rows.begin() + 21));
}

TEST(RowReservoir, SamplesOfPartsMergeToThatOfTheWhole) {
  const std::vector<float> rows = normal_values(500 * 3, 2);
  RowReservoir whole(3, 20, 5), merged(3, 20, 5);
  whole.add(rows.data(), 500, 0);
  for (const auto& [from, to] : {std::pair<std::size_t, std::size_t>{0, 0}, {0, 7}, {7, 450}, {450, 500}}) {
    RowReservoir part(3, 20, 5);
    part.add(rows.data() + 3 * from, to - from, from);
    StateWriter out;
    part.save(out);
    const std::vector<double> state = out.take();
    RowReservoir back(3, 20, 5);
    StateReader in(state);
    back.restore(in);
    in.finish();
    EXPECT_EQ(back.sample(), part.sample());
    merged.merge(back);
  }
  EXPECT_EQ(merged.sample(), whole.sample());
  EXPECT_EQ(merged.largest(), whole.largest());
}

}  // namespace
}  // namespace veloxquant
