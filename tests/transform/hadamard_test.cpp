#include <veloxquant/transform/hadamard.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include <veloxquant/core/error.hpp>

#include "cpu_levels.hpp"
#include "transform/paley.hpp"
#include "transform/random.hpp"
#include "transform/sylvester.hpp"

namespace veloxquant {
namespace {

std::vector<float> normal_row(int d, std::uint64_t seed) {
  NormalSource normal(seed);
  std::vector<float> row;
  for (int c = 0; c < d; ++c) row.push_back(static_cast<float>(normal.next()));
  return row;
}

double inner(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t c = 0; c < a.size(); ++c) sum += static_cast<double>(a[c]) * b[c];
  return sum;
}

TEST(Paley, MatricesAreHadamard) {
  int served = 0;
  for (int order = 4; order <= 128; order += 4) {
    if (!has_paley_matrix(order)) continue;
    ++served;
    const auto h = paley_matrix(order);
    for (int a = 0; a < order; ++a)
      for (int b = 0; b < order; ++b) {
        float sum = 0;
        for (int c = 0; c < order; ++c) sum += h[a * order + c] * h[b * order + c];
        ASSERT_EQ(sum, a == b ? order : 0) << order;
      }
  }
  EXPECT_GE(served, 20);
  for (const int order : {12, 20, 28}) EXPECT_TRUE(has_paley_matrix(order));
  for (const int order : {2, 6, 10, 52, 92, 100}) EXPECT_FALSE(has_paley_matrix(order));
}

constexpr int kSizes[] = {2,  4,  6,  8,  10, 12,  16,  18,  20,  24,  34,  40,  52,  64,
                          66, 72, 80, 92, 96, 100, 112, 120, 128, 144, 160, 192, 256, 4096};

TEST(Hadamard, MatrixIsOrthogonal) {
  for (const int d : kSizes) {
    if (d > 256) continue;
    for (const int rounds : {1, 2, 3}) {
      const HadamardTransform transform(d, 7, rounds);
      std::vector<std::vector<float>> columns;
      for (int c = 0; c < d; ++c) {
        std::vector<float> unit(static_cast<std::size_t>(d), 0.0f), y(unit.size());
        unit[static_cast<std::size_t>(c)] = 1;
        transform.apply_row(unit.data(), y.data());
        columns.push_back(y);
      }
      for (int a = 0; a < d; ++a)
        for (int b = a; b < d; ++b) ASSERT_NEAR(inner(columns[a], columns[b]), a == b ? 1 : 0, 2e-6) << d;
    }
  }
}

TEST(Hadamard, InverseIsTheAdjoint) {
  for (const int d : kSizes) {
    const HadamardTransform transform(d, 11);
    const auto x = normal_row(d, 1), y = normal_row(d, 2);
    std::vector<float> tx(x.size()), ty(x.size()), back(x.size());
    transform.apply_row(x.data(), tx.data());
    transform.inverse_row(y.data(), ty.data());
    transform.inverse_row(tx.data(), back.data());
    EXPECT_NEAR(inner(tx, y), inner(x, ty), 1e-5 * d) << d;
    for (int c = 0; c < d; ++c) ASSERT_NEAR(back[c], x[c], 4e-6) << d;
  }
}

TEST(Hadamard, OneRoundFlattensASpikeExactly) {
  for (const int d : {64, 80, 96, 112, 128, 192, 256}) {
    const HadamardTransform transform(d, 3, 1);
    std::vector<float> x(static_cast<std::size_t>(d), 0.0f), y(x.size());
    x[5] = 1;
    transform.apply_row(x.data(), y.data());
    for (const float value : y) ASSERT_EQ(std::fabs(value), static_cast<float>(1 / std::sqrt(d))) << d;
  }
}

TEST(Hadamard, SplitSizesGetOneRoundMore) {
  EXPECT_EQ(HadamardTransform(128, 0).rounds(), 2);
  EXPECT_EQ(HadamardTransform(112, 0).rounds(), 2);
  EXPECT_EQ(HadamardTransform(100, 0).rounds(), 3);
}

TEST(Hadamard, SeedDeterminesTheTransformForEver) {
  const auto x = normal_row(8, 5);
  std::vector<float> a(8), b(8), c(8);
  HadamardTransform(8, 1).apply_row(x.data(), a.data());
  HadamardTransform(8, 1).apply_row(x.data(), b.data());
  HadamardTransform(8, 2).apply_row(x.data(), c.data());
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);

  // Checksums over the results for 1, 2, ..., d (FNV-1a over the bytes of the floats); saved caches rely on
  // them.
  const auto checksum = [](int d, std::uint64_t seed) {
    std::vector<float> ramp, y(static_cast<std::size_t>(d));
    for (int i = 1; i <= d; ++i) ramp.push_back(static_cast<float>(i));
    HadamardTransform(d, seed).apply_row(ramp.data(), y.data());
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (const float value : y) {
      std::uint8_t bytes[4];
      std::memcpy(bytes, &value, 4);
      for (const std::uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001b3u;
    }
    return hash;
  };
  EXPECT_EQ(checksum(128, 0), 13307791340097687232u);
  EXPECT_EQ(checksum(96, 1), 3474836203859111199u);
  EXPECT_EQ(checksum(100, 2), 4979244486398407008u);
}

// Sums and differences of coordinates n / 2, n / 4, .. 1 apart, one at a time.
std::vector<float> by_butterflies(std::vector<float> x) {
  for (std::size_t half = x.size() / 2; half > 0; half /= 2)
    for (std::size_t i = 0; i < x.size(); ++i) {
      if ((i & half) != 0) continue;
      const float a = x[i], b = x[i + half];
      x[i] = a + b;
      x[i + half] = a - b;
    }
  return x;
}

TEST(Sylvester, EveryLevelGivesTheButterfliesBitForBit) {
  test::on_every_cpu_level([](const std::string& level) {
    for (int n = 2; n <= 4096; n *= 2) {
      auto x = normal_row(n, static_cast<std::uint64_t>(n));
      x[0] = x[1] = -0.0f;
      const auto expected = by_butterflies(x);
      multiply_sylvester(x.data(), n);
      ASSERT_EQ(std::memcmp(x.data(), expected.data(), 4 * x.size()), 0) << level << " " << n;
    }
  });
}

TEST(Sylvester, EveryLevelGivesTheRoundsBitForBit) {
  constexpr std::size_t kRows = 3;
  test::on_every_cpu_level([](const std::string& level) {
    for (int n = 2; n <= 1024; n *= 2) {
      const auto width = static_cast<std::size_t>(n);
      const auto x = normal_row(static_cast<int>(kRows) * n, 1), d1 = normal_row(n, 2), d2 = normal_row(n, 3);
      std::vector<float> expected, y(x.size());
      for (std::size_t i = 0; i < kRows; ++i) {
        std::vector<float> row(x.begin() + static_cast<std::ptrdiff_t>(i * width),
                               x.begin() + static_cast<std::ptrdiff_t>((i + 1) * width));
        for (const auto* factors : {&d1, &d2}) {
          for (std::size_t c = 0; c < width; ++c) row[c] *= (*factors)[c];
          row = by_butterflies(row);
        }
        expected.insert(expected.end(), row.begin(), row.end());
      }
      const float* const factors[] = {d1.data(), d2.data()};
      multiply_sylvester_rounds(x.data(), kRows, n, factors, y.data());
      ASSERT_EQ(std::memcmp(y.data(), expected.data(), 4 * y.size()), 0) << level << " " << n;
    }
  });
}

TEST(Hadamard, RowsAreTransformedAsTheyAreAlone) {
  constexpr int kRows = 5;
  test::on_every_cpu_level([](const std::string& level) {
    for (const int d : kSizes) {
      const HadamardTransform transform(d, 13);
      const auto x = normal_row(kRows * d, 3);
      std::vector<float> rows(x.size()), alone(x.size());
      transform.apply_rows(x.data(), kRows, rows.data());
      for (int i = 0; i < kRows; ++i) transform.apply_row(x.data() + i * d, alone.data() + i * d);
      ASSERT_EQ(rows, alone) << level << " " << d;
    }
  });
}

TEST(Hadamard, RefusesSizesAndRounds) {
  for (const int d : {-2, 0, 1, 63, 4098}) EXPECT_THROW(HadamardTransform(d, 0), ConfigError) << d;
  EXPECT_THROW(HadamardTransform(64, 0, 0), ConfigError);
  EXPECT_THROW(HadamardTransform(64, 0, 9), ConfigError);
}

TEST(Hadamard, CountsItsTables) { EXPECT_EQ(HadamardTransform(128, 0).nbytes(), 2u * 128 * 4); }

}  // namespace
}  // namespace veloxquant
