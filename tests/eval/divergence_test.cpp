#define HWY_WANT_AVX3_DL
#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <cmath>
#include <limits>
#include <vector>
#include <veloxquant/core/cpu.hpp>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/divergence.hpp>

#include "transform/random.hpp"

namespace veloxquant {
namespace {

// The definition, in double precision.
RowDivergence compare_reference(const float* r, const float* m, std::size_t vocab, std::uint32_t target) {
  const auto log_sum = [vocab](const float* row) {
    double max = row[0], sum = 0;
    for (std::size_t i = 0; i < vocab; ++i) max = std::max(max, static_cast<double>(row[i]));
    for (std::size_t i = 0; i < vocab; ++i) sum += std::exp(static_cast<double>(row[i]) - max);
    return max + std::log(sum);
  };
  const double lr = log_sum(r), lm = log_sum(m);
  RowDivergence result;
  std::size_t top_r = 0, top_m = 0;
  for (std::size_t i = 0; i < vocab; ++i) {
    const double log_p = static_cast<double>(r[i]) - lr, log_q = static_cast<double>(m[i]) - lm;
    result.kl += std::exp(log_p) * (log_p - log_q);
    if (r[i] > r[top_r]) top_r = i;
    if (m[i] > m[top_m]) top_m = i;
  }
  result.nll = lm - static_cast<double>(m[target]);
  result.reference_nll = lr - static_cast<double>(r[target]);
  result.same_top = top_r == top_m;
  return result;
}

struct Rows {
  std::vector<float> reference, logits;
  std::vector<std::uint32_t> targets;
};

// Peaky logits as a language model has them, and a disturbed copy.
Rows make_rows(std::size_t rows, std::size_t vocab, double noise, double offset = 0) {
  NormalSource normal(rows * vocab + 7);
  Rows result;
  for (std::size_t i = 0; i < rows * vocab; ++i) {
    const double x = 3 * normal.next() - 5;
    result.reference.push_back(static_cast<float>(x));
    result.logits.push_back(static_cast<float>(x + offset + noise * normal.next()));
  }
  for (std::size_t r = 0; r < rows; ++r)
    result.targets.push_back(static_cast<std::uint32_t>((r * 131) % vocab));
  return result;
}

std::vector<RowDivergence> compare(const Rows& rows, std::size_t vocab, int threads) {
  ThreadPool pool(threads);
  std::vector<RowDivergence> out(rows.targets.size());
  compare_rows(rows.reference.data(), rows.logits.data(), out.size(), vocab, rows.targets.data(), pool,
               out.data());
  return out;
}

TEST(Divergence, AgreesWithTheDefinitionOnEveryCpuLevel) {
  for (const std::string& level : available_cpu_levels()) {
    set_cpu_level(level);
    for (const std::size_t vocab : {1u, 2u, 3u, 17u, 1000u, 8192u, 32003u}) {
      for (const double noise : {0.01, 0.3, 4.0}) {
        const Rows rows = make_rows(3, vocab, noise);
        const auto out = compare(rows, vocab, 1);
        for (std::size_t r = 0; r < out.size(); ++r) {
          const RowDivergence wanted = compare_reference(
              rows.reference.data() + r * vocab, rows.logits.data() + r * vocab, vocab, rows.targets[r]);
          EXPECT_NEAR(out[r].kl, wanted.kl, 2e-5 * wanted.kl + 1e-6 * std::sqrt(wanted.kl) + 1e-12)
              << level << " vocab " << vocab;
          EXPECT_NEAR(out[r].nll, wanted.nll, 3e-6 * std::abs(wanted.nll) + 2e-6);
          EXPECT_NEAR(out[r].reference_nll, wanted.reference_nll,
                      3e-6 * std::abs(wanted.reference_nll) + 2e-6);
          EXPECT_EQ(out[r].same_top, wanted.same_top);
        }
      }
    }
  }
  set_cpu_level("");
}

TEST(Divergence, TinyDivergencesAreRight) {
  const std::size_t vocab = 4096;
  const Rows rows = make_rows(4, vocab, 1e-4);
  const auto out = compare(rows, vocab, 1);
  for (std::size_t r = 0; r < out.size(); ++r) {
    const double wanted =
        compare_reference(rows.reference.data() + r * vocab, rows.logits.data() + r * vocab, vocab, 0).kl;
    ASSERT_LT(wanted, 1e-7);
    EXPECT_NEAR(out[r].kl, wanted, 0.02 * wanted);
  }
}

TEST(Divergence, EqualLogitsHaveNone) {
  Rows rows = make_rows(2, 777, 0);
  for (const RowDivergence& d : compare(rows, 777, 1)) {
    EXPECT_EQ(d.kl, 0);
    EXPECT_EQ(d.nll, d.reference_nll);
    EXPECT_TRUE(d.same_top);
  }
}

TEST(Divergence, AConstantAddedToAllLogitsChangesNothing) {
  const Rows rows = make_rows(2, 500, 0, 64.0);
  for (const RowDivergence& d : compare(rows, 500, 1)) EXPECT_LT(d.kl, 1e-10);
}

TEST(Divergence, WidelySeparatedPredictionsStayFinite) {
  Rows rows{{0, -200, -300}, {-500, 0, -1000}, {0}};
  const auto out = compare(rows, 3, 1);
  EXPECT_NEAR(out[0].kl, 500, 1e-2);
  EXPECT_NEAR(out[0].nll, 500, 1e-2);
  EXPECT_FALSE(out[0].same_top);
}

TEST(Divergence, DoesNotDependOnThreads) {
  const Rows rows = make_rows(37, 1003, 0.5);
  const auto one = compare(rows, 1003, 1), three = compare(rows, 1003, 3);
  for (std::size_t r = 0; r < one.size(); ++r) {
    EXPECT_EQ(one[r].kl, three[r].kl);
    EXPECT_EQ(one[r].nll, three[r].nll);
  }
}

TEST(Divergence, RefusesLogitsThatAreNotFinite) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Rows rows = make_rows(1, 64, 0.1);
    rows.logits[63] = bad;
    EXPECT_THROW(compare(rows, 64, 1), NumericError);
  }
}

TEST(Divergence, ArgmaxTakesTheLowestOfEquals) {
  const std::vector<float> values = {1, 5, 3, 5, -2};
  EXPECT_EQ(argmax(values.data(), values.size()), 1u);
  EXPECT_EQ(argmax(values.data(), 1), 0u);
}

}  // namespace
}  // namespace veloxquant
