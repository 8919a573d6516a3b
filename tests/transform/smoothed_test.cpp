#include "transform/smoothed.hpp"

#include <gtest/gtest.h>

#include <random>
#include <veloxquant/transform/hadamard.hpp>

namespace veloxquant {
namespace {

struct Sample {
  explicit Sample(int dim) {
    std::mt19937 random(static_cast<unsigned>(dim));
    std::normal_distribution<float> normal;
    std::uniform_real_distribution<float> uniform(-4, 4);
    for (int c = 0; c < dim; ++c) factors.push_back(std::exp2(uniform(random)));
    for (std::size_t i = 0; i < 7 * factors.size(); ++i)
      keys.push_back(normal(random) * factors[i % factors.size()]);
    for (int c = 0; c < dim; ++c) query.push_back(normal(random));
    transform =
        std::make_unique<SmoothedTransform>(factors, std::make_shared<const HadamardTransform>(dim, 3));
  }
  std::vector<float> factors, keys, query;
  std::unique_ptr<SmoothedTransform> transform;
};

double inner(const float* a, const float* b, std::size_t count) {
  double sum = 0;
  for (std::size_t c = 0; c < count; ++c) sum += static_cast<double>(a[c]) * static_cast<double>(b[c]);
  return sum;
}

constexpr int kHeadDims[] = {16, 64, 80, 100, 128, 256};

TEST(SmoothedTransform, ScoresAreThoseOfTheInput) {
  for (const int dim : kHeadDims) {
    const Sample sample(dim);
    const std::size_t dims = sample.factors.size();
    std::vector<float> query(dims), key(dims);
    sample.transform->apply_query_row(sample.query.data(), query.data());
    for (std::size_t r = 0; r < 7; ++r) {
      const float* k = sample.keys.data() + r * dims;
      sample.transform->apply_row(k, key.data());
      EXPECT_NEAR(
          inner(query.data(), key.data(), dims), inner(sample.query.data(), k, dims),
          1e-5 * std::sqrt(inner(query.data(), query.data(), dims) * inner(key.data(), key.data(), dims)));
    }
  }
}

TEST(SmoothedTransform, ChannelsOfEqualFactorsHaveEqualWeight) {
  for (const int dim : kHeadDims) {
    const Sample sample(dim);
    std::vector<float> coded(sample.factors.size());
    sample.transform->apply_row(sample.factors.data(), coded.data());  // all channels one after the division
    EXPECT_NEAR(inner(coded.data(), coded.data(), coded.size()), dim, 1e-4 * dim);
  }
}

TEST(SmoothedTransform, InverseAndRowsTogether) {
  for (const int dim : kHeadDims) {
    const Sample sample(dim);
    const std::size_t dims = sample.factors.size();
    std::vector<float> together(7 * dims), one(dims), back(dims);
    sample.transform->apply_rows(sample.keys.data(), 7, together.data());
    for (std::size_t r = 0; r < 7; ++r) {
      sample.transform->apply_row(sample.keys.data() + r * dims, one.data());
      sample.transform->inverse_row(one.data(), back.data());
      for (std::size_t c = 0; c < dims; ++c) {
        EXPECT_EQ(together[r * dims + c], one[c]);
        EXPECT_NEAR(back[c], sample.keys[r * dims + c], 2e-5 * static_cast<double>(sample.factors[c]));
      }
    }
  }
}

}  // namespace
}  // namespace veloxquant
