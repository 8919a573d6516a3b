// The vectorized encoder against the scalar reference, on every CPU level that this machine has.
#define HWY_WANT_AVX3_DL
#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <veloxquant/core/error.hpp>

#include "codebook_trellis/trellis_samples.hpp"

namespace veloxquant {
namespace {

constexpr int kLengths[] = {8, 10, 16, 18, 22, 48, 62, 64, 80, 96, 112, 128, 130, 192, 256, 600};

void expect_reference_bytes(TrellisRuns runs, const std::vector<float>& z,
                            const std::int16_t* weights = nullptr) {
  std::vector<std::uint8_t> expected(trellis_code_bytes(runs), 0x55);
  trellis_encode_reference(runs, weights, z.data(), expected.data());
  EXPECT_EQ(encoded(runs, z, weights), expected) << runs.size() << " runs from " << runs[0].table->bits
                                                 << " bits on, n " << z.size() << ", z[0] " << z[0];
}
void expect_reference_bytes(const TrellisTable& table, const std::vector<float>& z) {
  const TrellisRun run{&table, static_cast<int>(z.size())};
  expect_reference_bytes({&run, 1}, z);
}

// Calls `check` with each CPU level switched on in turn.
template <typename Check>
void on_every_target(const Check& check) {
  for (std::int64_t t = hwy::SupportedTargets() & HWY_TARGETS; t != 0; t &= t - 1) {
    SCOPED_TRACE(hwy::TargetName(t & -t));
    hwy::SetSupportedTargetsForTest(t & -t);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    check();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

class TrellisBits : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Widths, TrellisBits, testing::Values(1, 2, 3, 4));

TEST_P(TrellisBits, RandomVectorsGiveTheReferenceBytes) {
  on_every_target([] {
    std::mt19937_64 random(7);
    for (const int n : kLengths) {
      for (const double deviation : {0.1, 1.0, 1.0, 1.0, 2.5}) {
        expect_reference_bytes(trellis_table(GetParam()), gaussian(n, deviation, random));
      }
    }
  });
}

// Vectors coded together, in any number, have the codes that they have alone.
TEST_P(TrellisBits, RowsGiveTheBytesOfSingleVectors) {
  const TrellisTable& table = trellis_table(GetParam());
  on_every_target([&] {
    std::mt19937_64 random(11);
    for (const int n : {16, 62, 64, 66, 128}) {
      for (std::size_t count = 0; count <= 9; ++count) {
        const auto width = static_cast<std::size_t>(n);
        const std::size_t bytes = trellis_code_bytes(n, table.bits);
        std::vector<float> rows;
        std::vector<std::uint8_t> expected;
        for (std::size_t i = 0; i < count; ++i) {
          const std::vector<float> z = gaussian(n, 1, random);
          rows.insert(rows.end(), z.begin(), z.end());
          expected.resize((i + 1) * bytes);
          const TrellisRun run{&table, n};
          trellis_encode_reference({&run, 1}, nullptr, rows.data() + i * width, expected.data() + i * bytes);
        }
        expected.resize(count * bytes + 1, 0x55);
        std::vector<std::uint8_t> codes(count * bytes + 1, 0x55);
        trellis_encode(table, rows.data(), count, n, codes.data());
        EXPECT_EQ(codes, expected) << n << ", " << count;
      }
    }
  });
}

// Strings over runs of several widths, in any order: as allocations give them, growing, up and down; short
// ones, whose seams are all tried; runs that a pass over the seam takes in part, whole, and more than once.
const std::vector<std::vector<TrellisRun>>& strings() {
  static const std::vector<std::vector<TrellisRun>> all = {string_of({{4, 16}, {3, 24}, {2, 40}, {1, 24}}),
                                                           string_of({{1, 24}, {2, 40}, {3, 24}, {4, 16}}),
                                                           string_of({{2, 64}, {4, 8}, {1, 8}, {3, 128}}),
                                                           string_of({{4, 8}, {1, 8}}),
                                                           string_of({{1, 8}, {4, 8}, {1, 8}}),
                                                           string_of({{3, 8}, {2, 16}, {1, 8}}),
                                                           string_of({{3, 24}, {1, 200}}),
                                                           string_of({{2, 32}, {2, 32}}),
                                                           string_of({{4, 40}, {3, 8}, {1, 16}}),
                                                           string_of({{4, 128}, {1, 128}})};
  return all;
}

TEST(TrellisString, RandomVectorsGiveTheReferenceBytes) {
  on_every_target([] {
    std::mt19937_64 random(12);
    for (const auto& runs : strings()) {
      for (const double deviation : {0.1, 1.0, 1.0, 2.5})
        expect_reference_bytes(runs, gaussian(trellis_length(runs), deviation, random));
      std::vector<float> coarse = gaussian(trellis_length(runs), 1, random);
      for (float& value : coarse) value = std::nearbyint(value);
      expect_reference_bytes(runs, coarse);
      expect_reference_bytes(runs, std::vector<float>(coarse.size(), 1e30F));
      std::vector<std::int16_t> weights(coarse.size());
      for (std::int16_t& weight : weights) weight = static_cast<std::int16_t>(1 + random() % 32767);
      expect_reference_bytes(runs, gaussian(trellis_length(runs), 1, random), weights.data());
      expect_reference_bytes(runs, coarse, weights.data());
      std::fill(weights.begin(), weights.end(), std::int16_t{32767});
      expect_reference_bytes(runs, std::vector<float>(coarse.size(), -1e30F), weights.data());
    }
  });
}

TEST(TrellisString, RowsGiveTheBytesOfSingleVectors) {
  on_every_target([] {
    std::mt19937_64 random(13);
    for (const auto& runs : strings()) {
      const std::size_t bytes = trellis_code_bytes(runs), count = 6;
      const std::vector<float> rows = gaussian(6 * trellis_length(runs), 1, random);
      std::vector<std::uint8_t> expected(count * bytes), codes(count * bytes + 1, 0x55);
      for (std::size_t i = 0; i < count; ++i)
        trellis_encode(runs, nullptr, rows.data() + i * rows.size() / count, 1, expected.data() + i * bytes);
      trellis_encode(runs, nullptr, rows.data(), count, codes.data());
      expected.push_back(0x55);
      EXPECT_EQ(codes, expected);
    }
  });
}

// Equal widths cut into runs are one string.
TEST(TrellisString, CutsOfOneWidthChangeOnlyTheSeam) {
  std::mt19937_64 random(14);
  const std::vector<float> z = gaussian(128, 1, random);
  const std::vector<TrellisRun> whole = string_of({{2, 128}}), cut = string_of({{2, 40}, {2, 88}});
  const std::vector<std::uint8_t> codes = encoded(cut, z);
  EXPECT_EQ(decoded(whole, codes), decoded(cut, codes));
}

// Coarse inputs and a coarse table make ties the rule.
TEST_P(TrellisBits, TiesGiveTheReferenceBytes) {
  std::mt19937_64 random(8);
  TrellisTable coarse{GetParam(), {}, 0};
  for (std::size_t w = 0; w < 128; ++w) {
    coarse.values[w] = static_cast<std::int16_t>(static_cast<int>(random() % 5) * 4096 - 2 * 4096);
    coarse.values[255 - w] = static_cast<std::int16_t>(-coarse.values[w]);
  }
  on_every_target([&] {
    for (const int n : kLengths) {
      std::vector<float> z = gaussian(n, 1, random);
      for (float& value : z) value = std::nearbyint(value);
      expect_reference_bytes(coarse, z);
    }
  });
}

TEST_P(TrellisBits, ExtremeInputsGiveTheReferenceBytes) {
  const TrellisTable& table = trellis_table(GetParam());
  TrellisTable widest = table;  // the largest differences that a table may cause
  for (std::size_t w = 0; w < 128; ++w) {
    widest.values[w] = w % 3 == 0 ? 16383 : -16383;
    widest.values[255 - w] = static_cast<std::int16_t>(-widest.values[w]);
  }
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  on_every_target([&] {
    for (const int n : kLengths) {
      for (const float level : {0.0F, 1e-30F, 0.5F, 1.0F / 8192, 3.0F / 8192, 4.0F, 1e30F, -1e30F, kInfinity,
                                std::numeric_limits<float>::quiet_NaN()}) {
        std::vector<float> z(static_cast<std::size_t>(n), level);
        expect_reference_bytes(table, z);
        expect_reference_bytes(widest, z);
        for (std::size_t t = 0; t < z.size(); t += 2) z[t] = -z[t];
        expect_reference_bytes(table, z);
        expect_reference_bytes(widest, z);
        for (std::size_t t = 0; t < z.size(); t += 3) z[t] = 0;
        expect_reference_bytes(table, z);
      }
    }
  });
}

// Huge inputs count as 4 and must not wash out the search by saturated metrics: nearly all signs survive.
TEST_P(TrellisBits, HugeInputsKeepTheirSigns) {
  const TrellisTable& table = trellis_table(GetParam());
  std::mt19937_64 random(9);
  std::vector<float> z(128);
  for (int repeat = 0; repeat < 20; ++repeat) {
    const float constant = repeat % 2 == 0 ? 1e30F : -1e30F;
    for (float& value : z) value = repeat < 4 || random() % 2 == 0 ? constant : -constant;
    const std::vector<float> y = decoded(table, encoded(table, z), 128);
    int kept = 0;
    for (std::size_t t = 0; t < z.size(); ++t) kept += (z[t] > 0) == (y[t] > 0) ? 1 : 0;
    EXPECT_GE(kept, 115) << repeat;
  }
}

TEST_P(TrellisBits, UnusedBitsAreZero) {
  const TrellisTable& table = trellis_table(GetParam());
  std::mt19937_64 random(10);
  for (const int n : {18, 22, 130}) {
    const std::vector<std::uint8_t> codes = encoded(table, gaussian(n, 1, random));
    const int spare = static_cast<int>(codes.size()) * 8 - n * table.bits;
    ASSERT_GE(spare, 0);
    ASSERT_LT(spare, 8);
    EXPECT_EQ(codes.back() >> (8 - spare), 0) << n;
  }
}

TEST(Trellis, SizesAreCeilings) {
  EXPECT_EQ(trellis_code_bytes(128, 2), 32U);
  EXPECT_EQ(trellis_code_bytes(18, 1), 3U);
  EXPECT_EQ(trellis_code_bytes(18, 3), 7U);
  EXPECT_EQ(trellis_code_bytes(16, 4), 8U);
}

TEST(Trellis, RefusesWhatItCannotCode) {
  EXPECT_THROW(trellis_table(0), ConfigError);
  EXPECT_THROW(trellis_table(5), ConfigError);
  const std::vector<float> z(1 << 17);
  std::vector<std::uint8_t> codes(1 << 17);
  for (const int n : {-2, 0, 6, 17, 65538}) {
    EXPECT_THROW(trellis_encode(trellis_table(2), z.data(), n, codes.data()), ShapeError) << n;
    const TrellisRun run{&trellis_table(2), n};
    EXPECT_THROW(trellis_encode_reference({&run, 1}, nullptr, z.data(), codes.data()), ShapeError) << n;
  }
  EXPECT_THROW(trellis_encode(TrellisRuns{}, nullptr, z.data(), 1, codes.data()), ShapeError);
  EXPECT_THROW(trellis_encode(string_of({{2, 16}, {1, 12}}), nullptr, z.data(), 1, codes.data()), ShapeError);
  EXPECT_THROW(trellis_encode(string_of({{2, 65528}, {1, 16}}), nullptr, z.data(), 1, codes.data()),
               ShapeError);
  TrellisTable table = trellis_table(2);
  table.bits = 5;
  EXPECT_THROW(trellis_encode(table, z.data(), 128, codes.data()), ConfigError);
}

}  // namespace
}  // namespace veloxquant
