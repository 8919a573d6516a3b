// The exponential function of the kernels, on every CPU level.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "attention/attend_run.hpp"
#include "attention/random_cache.hpp"

#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#define HWY_WANT_AVX3_DL
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/vector_math_test.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "attention/vector_math-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {

// A multiple of 16 values.
void exp_all(const float* x, std::size_t count, float* y) {
  const Floats d;
  for (std::size_t i = 0; i < count; i += kLanes)
    hn::StoreU(exp_not_above_zero(hn::LoadU(d, x + i)), d, y + i);
}

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(exp_all);

namespace test {
namespace {

std::vector<float> kernel_exp(const std::vector<float>& x) {
  std::vector<float> y(x.size());
  HWY_DYNAMIC_DISPATCH(exp_all)(x.data(), x.size(), y.data());
  return y;
}

TEST(VectorMath, ExpIsWithin2e7OfTheResult) {
  std::vector<float> x;
  for (int i = 0; i < (1 << 18); ++i)
    x.push_back(-86.9f * static_cast<float>(i) / static_cast<float>(1 << 18));
  on_every_cpu_level([&x](const std::string& level) {
    const std::vector<float> y = kernel_exp(x);
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double exact = std::exp(static_cast<double>(x[i]));
      worst = std::max(worst, std::abs(static_cast<double>(y[i]) - exact) / exact);
    }
    EXPECT_LE(worst, 2e-7) << level;
  });
}

TEST(VectorMath, ExpOfExtremeValues) {
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> x = {0.0f, -0.0f, -88.0f, -1e4f, -3e38f, -infinity, -1e-30f, std::nanf("")};
  x.resize(16, 0.0f);
  on_every_cpu_level([&x](const std::string& level) {
    const std::vector<float> y = kernel_exp(x);
    const std::vector<float> expected = {1, 1, 0, 0, 0, 0, 1};
    EXPECT_EQ(std::vector<float>(y.begin(), y.begin() + 7), expected) << level;
    EXPECT_TRUE(std::isnan(y[7])) << level;
  });
}

}  // namespace
}  // namespace test
}  // namespace veloxquant
#endif
