// The parts of a search: products with signs, and the second stage.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include <veloxquant/core/error.hpp>

#include "codebook/samples.hpp"
#include "pack/bits.hpp"
#include "search/candidates.hpp"
#include "search/sign_planes.hpp"

namespace veloxquant {
namespace {

using testing::inner;
using testing::normal_values;

TEST(SignPlanes, FollowTheirDefinition) {
  for (const int d : {2, 6, 18, 64, 100, 128, 256}) {
    const auto width = static_cast<std::size_t>(d);
    const auto rows = normal_values(20 * width, 1), q = normal_values(width, 2);
    SignPlanes planes(d);
    planes.append(rows.data(), 13);
    planes.append(rows.data() + 13 * width, 7);
    ASSERT_EQ(planes.size(), 20u);
    EXPECT_EQ(planes.vector_bytes(), 20 * ((width + 7) / 8 + 3));
    const SignQuery query(q.data(), d);
    EXPECT_DOUBLE_EQ(query.norm(), std::sqrt(inner(q.data(), q.data(), d)));
    for (std::size_t i = 0; i < 20; ++i) {
      const float* x = rows.data() + i * width;
      double product = 0, magnitudes = 0;
      for (std::size_t c = 0; c < width; ++c) {
        EXPECT_EQ(read_bits(planes.signs(i), c, 1), x[c] > 0 ? 1u : 0u);
        product += x[c] > 0 ? q[c] : -q[c];
        magnitudes += std::fabs(x[c]);
      }
      const double square = inner(x, x, d), cosine = magnitudes / std::sqrt(square * d);
      EXPECT_NEAR(query.product(planes.signs(i)), product, 1e-5 * d);
      EXPECT_NEAR(planes.factor(i), square / magnitudes, 6e-4 * square / magnitudes);
      // Rounded up, by at most one step of 1/255.
      const double margin = std::sqrt(square / (d - 1)) / cosine;
      EXPECT_GE(planes.margin(i), (1 - 1e-3) * margin * std::sqrt(1 - cosine * cosine) - 1e-6);
      EXPECT_LE(planes.margin(i), (1 + 1e-3) * margin * (std::sqrt(1 - cosine * cosine) + 1.0 / 255));
    }
    planes.clear();
    EXPECT_EQ(planes.size(), 0u);
  }
}

TEST(SignPlanes, AVectorOfZerosIsKnown) {
  SignPlanes planes(64);
  planes.append(std::vector<float>(64, 0.0f).data(), 1);
  EXPECT_EQ(planes.factor(0), 0);
  EXPECT_LT(planes.margin(0), 3e-7f);
}

// Their factors are below the normal numbers of f16, or round to zero.
TEST(SignPlanes, MarginsOfTinyVectorsHoldTheirRounding) {
  const auto q = normal_values(64, 2);
  const SignQuery query(q.data(), 64);
  for (const float size : {1e-5f, 1e-7f, 1e-8f, 1e-9f}) {
    std::vector<float> x(64);
    for (std::size_t c = 0; c < 64; ++c) x[c] = q[c] > 0 ? size : -size;  // known but for the factor
    SignPlanes planes(64);
    planes.append(x.data(), 1);
    const double product = inner(x.data(), q.data(), 64);
    EXPECT_NEAR(planes.factor(0) * query.product(planes.signs(0)), product,
                planes.margin(0) * query.norm() + 6e-4 * product)
        << size;
  }
}

TEST(SignPlanes, AnErrorLeavesThemAsTheyWere) {
  SignPlanes planes(64);
  auto rows = normal_values(2 * 64, 3);
  planes.append(rows.data(), 1);
  for (std::size_t c = 64; c < 128; ++c) rows[c] *= 1e6f;
  EXPECT_THROW(planes.append(rows.data(), 2), NumericError);
  EXPECT_EQ(planes.size(), 1u);
}

// Estimates that hold: whatever they are, the answer is the full scan's.
TEST(BestOf, EqualsTheFullScan) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const std::size_t count = 1 + seed % 97;
    const auto numbers = normal_values(3 * count, seed);
    std::vector<float> scores(count);
    std::vector<Estimate> estimates(count);
    for (std::size_t i = 0; i < count; ++i) {
      scores[i] = seed % 3 == 0 ? std::round(2 * numbers[i]) : numbers[i];  // with equal ones
      const float margin = std::fabs(numbers[count + i]);
      estimates[i] = {scores[i] + margin * std::sin(numbers[2 * count + i]) * 0.99f, margin + 1e-6f};
    }
    for (const int k : {1, 3, 10, 200}) {
      std::vector<std::int64_t> order(count);
      for (std::size_t i = 0; i < count; ++i) order[i] = static_cast<std::int64_t>(i);
      std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
        return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
      });
      order.resize(std::min(count, static_cast<std::size_t>(k)));
      std::set<std::size_t> asked;
      const SearchResult found = best_of(estimates, k, [&](std::size_t i) {
        EXPECT_TRUE(asked.insert(i).second) << "asked twice";
        return scores[i];
      });
      ASSERT_EQ(found.neighbours.size(), order.size());
      for (std::size_t i = 0; i < order.size(); ++i) {
        EXPECT_EQ(found.neighbours[i].index, order[i]);
        EXPECT_EQ(found.neighbours[i].score, scores[static_cast<std::size_t>(order[i])]);
      }
      EXPECT_EQ(found.reranked, static_cast<std::int64_t>(asked.size()));
    }
  }
}

// Narrow margins leave next to nothing to ask for.
TEST(BestOf, AsksForAsFewAsItCan) {
  std::vector<Estimate> estimates;
  for (int i = 0; i < 1000; ++i) estimates.push_back({static_cast<float>(i), 0.4f});
  const SearchResult found = best_of(estimates, 10, [](std::size_t i) { return static_cast<float>(i); });
  EXPECT_EQ(found.reranked, 10);
  EXPECT_EQ(found.neighbours.front().index, 999);
  EXPECT_TRUE(best_of({}, 10, [](std::size_t) { return 0.0f; }).neighbours.empty());
  EXPECT_THROW(best_of(estimates, 10, [](std::size_t) { return NAN; }), NumericError);
}

TEST(Candidates, RefuseWrongOptionsAndQueries) {
  EXPECT_THROW(check_options({.top_k = 0}), ConfigError);
  for (const float eps0 : {-1.0f, NAN, INFINITY}) EXPECT_THROW(check_options({.eps0 = eps0}), ConfigError);
  EXPECT_NO_THROW(check_options({.top_k = 1, .eps0 = 0}));
  EXPECT_THROW(checked_query(Tensor(), 64), ShapeError);
  EXPECT_THROW(checked_query(Tensor::zeros({32}, DType::f32), 64), ShapeError);
  EXPECT_THROW(checked_query(Tensor::zeros({1, 64}, DType::f32), 64), ShapeError);
  EXPECT_THROW(checked_query(Tensor::zeros({64}, DType::f64), 64), DTypeError);
  Tensor broken = Tensor::zeros({64}, DType::f32);
  broken.data<float>()[3] = INFINITY;
  EXPECT_THROW(checked_query(broken, 64), NumericError);
  broken.data<float>()[3] = 3e37f;
  EXPECT_THROW(checked_query(broken, 64), NumericError);
  EXPECT_EQ(checked_query(Tensor::zeros({64}, DType::bf16), 64).dtype(), DType::f32);
}

}  // namespace
}  // namespace veloxquant
