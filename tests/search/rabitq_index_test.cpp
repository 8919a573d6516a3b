#include <veloxquant/search/rabitq_index.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include <veloxquant/core/error.hpp>

#include "codebook/samples.hpp"
#include "cpu_levels.hpp"

namespace veloxquant {
namespace {

using testing::inner;
using testing::normal_values;
using testing::Statistics;

constexpr int kDim = 128;

Tensor vector_of(const float* x, std::int64_t d) {
  return Tensor::copy_of<float>({x, static_cast<std::size_t>(d)}, {d});
}
Tensor rows_of(const std::vector<float>& x, std::int64_t d) {
  return Tensor::copy_of<float>(x, {static_cast<std::int64_t>(x.size()) / d, d});
}

// Keys in 64 groups of equal size whose middles hold two thirds of the energy; queries are keys with noise of
// the same size as that of a group.
struct Clustered {
  static constexpr std::size_t kGroups = 64, kKeys = 8192, kQueries = 100;
  static constexpr float kNoise = 0.7f;

  explicit Clustered(std::uint64_t seed) {
    const auto middles = normal_values(kGroups * kDim, seed);
    keys = normal_values(kKeys * kDim, seed + 1);
    for (std::size_t i = 0; i < keys.size(); ++i)
      keys[i] = kNoise * keys[i] + middles[i / kDim % kGroups * kDim + i % kDim];
    queries = normal_values(kQueries * kDim, seed + 2);
    for (std::size_t i = 0; i < queries.size(); ++i)
      queries[i] = kNoise * queries[i] + keys[7 * kDim * (i / kDim) + i % kDim];
  }

  std::vector<float> keys, queries;
};

std::vector<std::int64_t> best_by_inner_product(const std::vector<float>& rows, const float* q,
                                                std::size_t k) {
  std::vector<std::pair<double, std::int64_t>> scores;
  for (std::size_t i = 0; i < rows.size() / kDim; ++i)
    scores.emplace_back(-inner(rows.data() + i * kDim, q, kDim), static_cast<std::int64_t>(i));
  std::partial_sort(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(k), scores.end());
  std::vector<std::int64_t> best;
  for (std::size_t i = 0; i < k; ++i) best.push_back(scores[i].second);
  return best;
}

double common(const std::vector<std::int64_t>& wanted, const std::vector<Neighbour>& found) {
  double count = 0;
  for (const Neighbour& n : found)
    count += std::find(wanted.begin(), wanted.end(), n.index) != wanted.end() ? 1 : 0;
  return count / static_cast<double>(wanted.size());
}

// Inner products to ten nearest keys: a first stage of at most 1.4 bits per element, centres and all that
// belongs to a key counted, and what it leaves read from the remaining bits.
TEST(RabitqIndex, FindsTheNearestOfAClusteredSet) {
  const Clustered set(21);
  std::vector<std::vector<std::int64_t>> wanted;
  for (std::size_t i = 0; i < Clustered::kQueries; ++i)
    wanted.push_back(best_by_inner_product(set.keys, set.queries.data() + i * kDim, 10));
  constexpr auto kElements = static_cast<double>(Clustered::kKeys * kDim);
  // Seen: .64 .80 .94 .99 at 1, 2, 4 and 8 bits.
  for (const auto& [bits, least, most] : std::vector<std::tuple<int, double, double>>{
           {1, .55, .75}, {2, .72, .88}, {4, .90, .97}, {8, .97, 1}}) {
    const RabitqIndex index(rows_of(set.keys, kDim), {.bits = bits, .centres = 64});
    EXPECT_LE(8 * static_cast<double>(index.scanned_bytes()) / kElements, 1.4);
    Statistics recall, reranked, exact_recall;
    for (std::size_t i = 0; i < Clustered::kQueries; ++i) {
      const float* q = set.queries.data() + i * kDim;
      const SearchResult found = index.search(vector_of(q, kDim));
      recall.add(common(wanted[i], found.neighbours));
      reranked.add(static_cast<double>(found.reranked));
      if (bits > 1) continue;
      const auto exact = [&](std::int64_t key) {
        return static_cast<float>(inner(set.keys.data() + key * kDim, q, kDim));
      };
      exact_recall.add(common(wanted[i], index.search(vector_of(q, kDim), {}, exact).neighbours));
    }
    if (bits == 1) {
      EXPECT_GE(exact_recall.mean(), .97);
      EXPECT_LE(8 * static_cast<double>(index.nbytes()) / kElements, 1.4);
      RecordProperty("bits_1_exact", std::to_string(exact_recall.mean()));
    }
    EXPECT_GE(recall.mean(), least) << bits;
    EXPECT_LE(recall.mean(), most) << bits;
    EXPECT_LT(reranked.mean(), .01 * Clustered::kKeys) << bits;
    RecordProperty(
        "bits_" + std::to_string(bits),
        std::to_string(recall.mean()) + " recall, " + std::to_string(reranked.mean()) + " reranked, " +
            std::to_string(8 * static_cast<double>(index.scanned_bytes()) / kElements) + " bits scanned, " +
            std::to_string(8 * static_cast<double>(index.nbytes()) / kElements) + " held");
  }
}

// Over rotations: with one alone, vectors that have a part in common share its error.
TEST(RabitqIndex, EstimatesAreUnbiased) {
  constexpr std::size_t kCount = 60;
  constexpr std::uint64_t kRotations = 400;
  auto rows = testing::sphere_vectors(kCount, kDim, 31);
  const auto offset = normal_values(kDim, 33);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] += 0.1f * offset[i % kDim];
  // Every vector holds a part of the query, so that a factor that is off would show.
  auto q = normal_values(kDim, 40);
  for (std::size_t c = 0; c < kDim; ++c) q[c] = 0.3f * q[c] + rows[c] + 2 * offset[c];
  const Tensor query = vector_of(q.data(), kDim);
  for (const int centres : {0, 1, 8})
    for (const int bits : {2, 4}) {
      Statistics of_signs, of_all;  // of the mean error of a rotation
      for (std::uint64_t seed = 0; seed < kRotations; ++seed) {
        const RabitqIndex index(rows_of(rows, kDim), {.bits = bits, .centres = centres, .seed = seed});
        const auto signs = index.sign_estimates(query);
        double sign_error = 0, error = 0;
        for (std::size_t i = 0; i < kCount; ++i) {
          const double exact = inner(rows.data() + i * kDim, q.data(), kDim);
          sign_error += static_cast<double>(signs[i].value) - exact;
          error += static_cast<double>(index.estimate(query, static_cast<std::int64_t>(i)).value) - exact;
        }
        of_signs.add(sign_error / kCount);
        of_all.add(error / kCount);
      }
      EXPECT_LT(std::fabs(of_signs.mean()), 3 * of_signs.standard_error()) << centres << " centres";
      EXPECT_LT(std::fabs(of_all.mean()), 3 * of_all.standard_error()) << centres << " centres, " << bits;
      EXPECT_LT(of_all.variance(), (bits == 2 ? .35 : .04) * of_signs.variance())
          << centres << " centres, " << bits;
      RecordProperty("centres_" + std::to_string(centres) + "_bits_" + std::to_string(bits),
                     std::to_string(of_signs.mean() / of_signs.standard_error()) + " " +
                         std::to_string(of_all.mean() / of_all.standard_error()) +
                         " standard errors, variances " + std::to_string(of_signs.variance()) + " " +
                         std::to_string(of_all.variance()));
    }
}

// The part of estimates within their margins is what a normal error of the predicted variance says, from both
// sides: for queries across the vectors (rho = 0) and along them, where margins are 1 / sqrt(1 - rho^2) as
// wide.
TEST(RabitqIndex, MarginsHoldWhatTheyPromise) {
  constexpr std::size_t kCount = 400, kQueries = 50;
  constexpr double kEps0[] = {1.0, 1.9, 3.0};
  const auto rows = testing::sphere_vectors(kCount, kDim, 51),
             others = testing::sphere_vectors(kCount * kQueries, kDim, 52);
  for (const int bits : {1, 3}) {
    const RabitqIndex index(rows_of(rows, kDim), {.bits = bits});
    for (const double rho : {0.0, 0.5, 0.8}) {
      double within[3] = {};
      for (std::size_t i = 0; i < kCount * kQueries; ++i) {
        const float *x = rows.data() + i / kQueries * kDim, *u = others.data() + i * kDim;
        const double along = inner(x, u, kDim), side = std::sqrt((1 - rho * rho) / (1 - along * along));
        float q[kDim];
        for (int c = 0; c < kDim; ++c) q[c] = static_cast<float>(rho * x[c] + side * (u[c] - along * x[c]));
        const Estimate e = index.estimate(vector_of(q, kDim), static_cast<std::int64_t>(i / kQueries), 1);
        for (int j = 0; j < 3; ++j)
          within[j] +=
              std::fabs(static_cast<double>(e.value) - rho) <= kEps0[j] * static_cast<double>(e.margin) ? 1
                                                                                                        : 0;
      }
      for (int j = 0; j < 3; ++j) {
        const double part = within[j] / (kCount * kQueries),
                     expected = std::erf(kEps0[j] / std::sqrt(2 * (1 - rho * rho)));
        // Rounding sines up widens margins by a few thousandths.
        EXPECT_NEAR(part, expected, 3 * std::sqrt(expected * (1 - expected) / (kCount * kQueries)) + 2e-3)
            << bits << " bits, rho " << rho << ", eps0 " << kEps0[j];
        RecordProperty("bits_" + std::to_string(bits) + "_rho_" + std::to_string(rho) + "_eps0_" +
                           std::to_string(kEps0[j]),
                       std::to_string(part) + " for " + std::to_string(expected));
      }
    }
  }
}

// Without centres an estimate of all bits is the inner product with the decoded vector, and a search with
// margins that exclude nothing wrongly is a full scan of them.
TEST(RabitqIndex, SearchEqualsTheScanOfDecodedVectors) {
  const auto rows = normal_values(1500 * kDim, 71);
  for (const int bits : {1, 2, 3, 8}) {
    const RabitqIndex index(rows_of(rows, kDim),
                            {.bits = bits, .transform = bits == 3 ? "haar" : "hadamard", .seed = 9});
    const Tensor decoded = index.decode();
    EXPECT_EQ(decoded.shape(), (Shape{1500, kDim}));
    const std::vector<float> values(decoded.span<float>().begin(), decoded.span<float>().end());
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const auto q = normal_values(kDim, 80 + seed);
      const SearchResult found = index.search(vector_of(q.data(), kDim), {.top_k = 10, .eps0 = 6});
      EXPECT_EQ(common(best_by_inner_product(values, q.data(), 10), found.neighbours), 1) << bits;
      for (const Neighbour& n : found.neighbours) {
        EXPECT_NEAR(n.score, inner(values.data() + n.index * kDim, q.data(), kDim), 1e-3);
        EXPECT_EQ(n.score, index.estimate(vector_of(q.data(), kDim), n.index).value);
      }
      EXPECT_TRUE(std::is_sorted(found.neighbours.begin(), found.neighbours.end(),
                                 [](const Neighbour& a, const Neighbour& b) { return a.score > b.score; }));
      EXPECT_EQ(found.reranked == 0, bits == 1);
    }
  }
}

TEST(RabitqIndex, DecodesWithTheDistortionOfTheCode) {
  constexpr double kGrid[] = {.3608, .1161, .0351, .0099};
  const auto rows = testing::sphere_vectors(3000, kDim, 91);
  for (int bits = 1; bits <= 4; ++bits) {
    const Tensor decoded = RabitqIndex(rows_of(rows, kDim), {.bits = bits}).decode();
    Statistics errors;
    for (std::size_t i = 0; i < rows.size(); i += kDim)
      errors.add(testing::relative_error(rows.data() + i, decoded.data<float>() + i, kDim));
    const double expected = kGrid[bits - 1] / (1 - kGrid[bits - 1]);  // of the unbiased scale
    EXPECT_NEAR(errors.mean(), expected, .02 * expected) << bits;
  }
  // Centres take their part of the energy: of the clustered keys a third is left to the code.
  const Clustered set(22);
  const Tensor decoded = RabitqIndex(rows_of(set.keys, kDim), {.bits = 4, .centres = 64}).decode();
  double lost = 0, energy = 0;
  for (std::size_t i = 0; i < set.keys.size(); i += kDim) {
    const double norm = inner(set.keys.data() + i, set.keys.data() + i, kDim);
    lost += norm * testing::relative_error(set.keys.data() + i, decoded.data<float>() + i, kDim);
    energy += norm;
  }
  EXPECT_NEAR(lost / energy, .01 * .49 / 1.49, .1 * .01 * .49 / 1.49);
}

TEST(RabitqIndex, CountsItsBytes) {
  const auto rows = normal_values(300 * 100, 95);
  const auto bytes = [&](const RabitqIndexOptions& options) {
    const RabitqIndex index(rows_of(rows, 100), options);
    return std::make_pair(index.scanned_bytes(), index.nbytes());
  };
  const auto without = std::make_pair<std::size_t, std::size_t>(300 * (13 + 3), 300 * (13 + 3 + 25 + 4));
  EXPECT_EQ(bytes({.bits = 3}), without);
  const auto with =
      std::make_pair<std::size_t, std::size_t>(300 * (13 + 5) + 7 * 102, 300 * (13 + 5 + 38 + 6) + 7 * 102);
  EXPECT_EQ(bytes({.bits = 4, .centres = 7}), with);
  EXPECT_EQ(bytes({.bits = 1}), std::make_pair(std::size_t{300 * 16}, std::size_t{300 * 16}));
}

TEST(RabitqIndex, IsTheSameOnEveryLevel) {
  const auto rows = normal_values(500 * 100, 97);
  const auto q = normal_values(100, 98);
  std::vector<float> values, decoded;
  test::on_every_cpu_level([&](const std::string& level) {
    const RabitqIndex index(rows_of(rows, 100), {.bits = 5, .centres = 10, .seed = 3});
    std::vector<float> values_here;
    for (const Estimate& e : index.sign_estimates(vector_of(q.data(), 100))) {
      values_here.push_back(e.value);
      values_here.push_back(e.margin);
    }
    const Tensor all = index.decode();
    const std::vector<float> decoded_here(all.span<float>().begin(), all.span<float>().end());
    if (values.empty()) values = values_here, decoded = decoded_here;
    EXPECT_EQ(values, values_here) << level;
    EXPECT_EQ(decoded, decoded_here) << level;
  });
}

TEST(RabitqIndex, TakesAllThatIsAVector) {
  std::vector<float> rows(6 * 64, 0.0f);
  rows[64] = 1;                                          // a spike
  for (std::size_t c = 128; c < 192; ++c) rows[c] = -2;  // a constant
  const auto random = normal_values(64, 99);
  std::copy(random.begin(), random.end(), rows.begin() + 192);
  std::copy(random.begin(), random.end(), rows.begin() + 256);  // twice the same
  for (const int centres : {0, 1, 6})
    for (const int bits : {1, 4}) {
      const RabitqIndex index(rows_of(rows, 64).to(DType::bf16), {.bits = bits, .centres = centres});
      const SearchResult found = index.search(vector_of(random.data(), 64), {.top_k = 50});
      ASSERT_EQ(found.neighbours.size(), 6u);
      EXPECT_EQ(found.neighbours[0].index + found.neighbours[1].index, 7);
      EXPECT_NEAR(index.estimate(vector_of(random.data(), 64), 0).value, 0, centres == 1 ? 3 : 1e-6);
    }
}

TEST(RabitqIndex, RefusesWhatHasNoMeaning) {
  const Tensor rows = rows_of(normal_values(10 * 64, 1), 64);
  EXPECT_THROW(RabitqIndex(Tensor(), {}), ShapeError);
  EXPECT_THROW(RabitqIndex(rows.reshape({10, 1, 64}), {}), ShapeError);
  EXPECT_THROW(RabitqIndex(Tensor::zeros({0, 64}, DType::f32), {}), ShapeError);
  EXPECT_THROW(RabitqIndex(Tensor::zeros({3, 63}, DType::f32), {}), ConfigError);
  EXPECT_THROW(RabitqIndex(Tensor::zeros({1, 4098}, DType::f32), {}), ConfigError);
  EXPECT_THROW(RabitqIndex(Tensor::zeros({3, 64}, DType::f64), {}), DTypeError);
  EXPECT_THROW(RabitqIndex(rows, {.bits = 0}), ConfigError);
  EXPECT_THROW(RabitqIndex(rows, {.bits = 9}), ConfigError);
  EXPECT_THROW(RabitqIndex(rows, {.centres = -1}), ConfigError);
  EXPECT_THROW(RabitqIndex(rows, {.centres = 11}), ConfigError);
  EXPECT_THROW(RabitqIndex(Tensor::zeros({300, 64}, DType::f32), {.centres = 257}), ConfigError);
  EXPECT_THROW(RabitqIndex(rows, {.transform = "none"}), ConfigError);
  for (const float bad : {NAN, INFINITY, 1e30f, 3e38f}) {
    for (const int centres : {0, 3}) {
      Tensor broken = rows.copy();
      broken.data<float>()[77] = bad;
      EXPECT_THROW(RabitqIndex(broken, {.centres = centres}), NumericError) << bad;
    }
  }
  const RabitqIndex index(rows, {});
  const Tensor q = Tensor::zeros({64}, DType::f32);
  EXPECT_THROW(index.estimate(q, -1), ShapeError);
  EXPECT_THROW(index.estimate(q, 10), ShapeError);
  EXPECT_THROW(index.estimate(q, 0, NAN), ConfigError);
  EXPECT_THROW(index.sign_estimates(q, -1), ConfigError);
  EXPECT_THROW(index.search(q, {.top_k = 0}), ConfigError);
  EXPECT_THROW(index.search(q, {}, nullptr), ConfigError);
  EXPECT_THROW(index.search(Tensor::zeros({32}, DType::f32)), ShapeError);
}

}  // namespace
}  // namespace veloxquant
