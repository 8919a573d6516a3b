// The decoder's computations against plain double-precision ones, on every CPU level.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>
#include <veloxquant/core/cpu.hpp>

#include "models/gemm.hpp"
#include "models/gemv.hpp"
#include "models/heads.hpp"
#include "models/linear.hpp"
#include "models/row_kernels.hpp"

namespace veloxquant {
namespace {

template <class Body>
void on_every_level(const Body& body) {
  for (const std::string& level : available_cpu_levels()) {
    SCOPED_TRACE(level);
    set_cpu_level(level);
    body();
  }
  set_cpu_level("");
}

Tensor random_tensor(Shape shape, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  Tensor x = Tensor::empty(std::move(shape), DType::f32);
  for (float& value : x.span<float>()) value = normal(generator);
  return x;
}

float value_at(const Tensor& x, std::int64_t index) {
  return x.dtype() == DType::bf16 ? to_f32(x.data<bf16>()[index]) : x.data<float>()[index];
}

// Row r, output o of x W^T, and the sum of the terms' magnitudes, which bounds rounding.
struct Exact {
  double value = 0, magnitude = 0;
};
Exact exact_product(const Tensor& x, const Tensor& weights, std::int64_t r, std::int64_t o) {
  const std::int64_t inputs = weights.dim(1);
  Exact result;
  for (std::int64_t i = 0; i < inputs; ++i) {
    const double term = double{value_at(x, r * inputs + i)} * value_at(weights, o * inputs + i);
    result.value += term;
    result.magnitude += std::abs(term);
  }
  return result;
}

// Largest error of y [rows, outputs], relative to the magnitude of the terms.
double worst_error(const Tensor& x, const Tensor& weights, const Tensor& bias, const Tensor& y) {
  double worst = 0;
  for (std::int64_t r = 0; r < y.dim(0); ++r) {
    for (std::int64_t o = 0; o < y.dim(1); ++o) {
      const Exact exact = exact_product(x, weights, r, o);
      const double added = bias.defined() ? value_at(bias, o) : 0.0;
      const double error = std::abs(y.data<float>()[r * y.dim(1) + o] - exact.value - added);
      worst = std::max(worst, error / (exact.magnitude + std::abs(added)));
    }
  }
  return worst;
}

constexpr double kF32Error = 1e-6;  // of sums of up to a thousand terms

TEST(Gemv, EqualsTheDefinition) {
  on_every_level([] {
    for (const std::int64_t inputs : {1, 7, 24, 64, 100, 513}) {
      for (const DType dtype : {DType::f32, DType::bf16}) {
        const Tensor weights = random_tensor({11, inputs}, 1).to(dtype);
        for (std::int64_t rows = 1; rows <= std::int64_t{kGemvRows}; ++rows) {
          const Tensor x = random_tensor({rows, inputs}, 2), y = Tensor::zeros({rows, 11}, DType::f32);
          const auto run = [&](const auto* w) {
            gemv(w, x.data<float>(), static_cast<std::size_t>(inputs), static_cast<std::size_t>(rows), 0, 11,
                 y.data<float>(), 11);
          };
          dtype == DType::bf16 ? run(weights.data<bf16>()) : run(weights.data<float>());
          EXPECT_LT(worst_error(x, weights, {}, y), kF32Error) << inputs << " inputs, " << rows << " rows";
        }
      }
    }
  });
}

TEST(Gemv, WritesOnlyTheOutputsAskedFor) {
  const Tensor weights = random_tensor({9, 16}, 1), x = random_tensor({2, 16}, 2);
  std::vector<float> y(20, -7.0f);
  gemv(weights.data<float>(), x.data<float>(), 16, 2, 3, 8, y.data(), 10);
  for (std::size_t r = 0; r < 2; ++r) {
    for (std::size_t o = 0; o < 10; ++o) EXPECT_EQ(y[r * 10 + o] == -7.0f, o < 3 || o >= 8) << r << " " << o;
  }
}

TEST(RowKernels, RmsNorm) {
  on_every_level([] {
    for (const std::int64_t n : {1, 6, 24, 64, 259}) {
      const Tensor x = random_tensor({n}, 3), weight = random_tensor({n}, 4);
      double squares = 0;
      for (const float v : x.span<float>()) squares += double{v} * v;
      std::vector<float> out(x.span<float>().begin(), x.span<float>().end());
      rms_norm(out.data(), weight.data<float>(), out.size(), 1e-5f, out.data());
      for (std::size_t i = 0; i < out.size(); ++i) {
        const double expected =
            weight.span<float>()[i] * x.span<float>()[i] / std::sqrt(squares / double(n) + 1e-5);
        EXPECT_NEAR(out[i], expected, 1e-6 * std::abs(expected));
      }
    }
  });
}

TEST(RowKernels, SiluTimes) {
  on_every_level([] {
    const Tensor up = random_tensor({1001}, 5);
    std::vector<float> gate(1001);
    for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = static_cast<float>(i) * 0.4f - 200.0f;
    gate[0] = -3e38f;
    const std::vector<float> before = gate;
    silu_times(gate.data(), up.data<float>(), gate.size());
    for (std::size_t i = 0; i < gate.size(); ++i) {
      const double expected = before[i] / (1.0 + std::exp(-double{before[i]})) * up.span<float>()[i];
      EXPECT_NEAR(gate[i], expected, 1e-6 * std::abs(expected) + 1e-30) << before[i];
    }
  });
}

TEST(RowKernels, RotationKeepsPairsTogether) {
  on_every_level([] {
    const std::size_t pairs = 13;
    const Tensor x = random_tensor({26}, 6);
    std::vector<float> head(x.span<float>().begin(), x.span<float>().end()), cosines(pairs), sines(pairs);
    for (std::size_t i = 0; i < pairs; ++i) {
      cosines[i] = std::cos(static_cast<float>(i));
      sines[i] = std::sin(static_cast<float>(i));
    }
    rotate_half_split(head.data(), cosines.data(), sines.data(), pairs);
    for (std::size_t i = 0; i < pairs; ++i) {
      const double low = x.span<float>()[i], high = x.span<float>()[pairs + i],
                   angle = static_cast<double>(i);
      EXPECT_NEAR(head[i], low * std::cos(angle) - high * std::sin(angle), 1e-6);
      EXPECT_NEAR(head[pairs + i], low * std::sin(angle) + high * std::cos(angle), 1e-6);
    }
  });
}

TEST(RowKernels, ConversionsAreTheScalarOnes) {
  on_every_level([] {
    std::vector<float> x;
    for (std::uint32_t i = 0; i < 4097; ++i) x.push_back(std::bit_cast<float>(i * 0x00100801u));
    for (const float special : {0.0f, -0.0f, std::numeric_limits<float>::infinity(), 3.4e38f, 1e-45f})
      x.push_back(special);
    std::vector<bf16> rounded(x.size());
    round_to_bf16(x.data(), x.size(), rounded.data());
    std::vector<float> widened(x.size());
    widen_bf16(rounded.data(), rounded.size(), widened.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(rounded[i].bits, to_bf16(x[i]).bits) << std::bit_cast<std::uint32_t>(x[i]);
      ASSERT_EQ(std::bit_cast<std::uint32_t>(widened[i]), std::bit_cast<std::uint32_t>(to_f32(rounded[i])));
    }
  });
}

TEST(Linear, EqualsTheDefinitionForAllRowCounts) {
  const auto pool = std::make_shared<ThreadPool>(2);
  for (const DType arithmetic : {DType::f32, DType::bf16}) {
    if (arithmetic == DType::bf16 && bf16_support() == Bf16Support::none) continue;
    LinearEngine engine(arithmetic, pool);
    const Tensor weights = random_tensor({150, 40}, 7).to(DType::bf16), bias = random_tensor({150}, 8);
    const Tensor more_weights = random_tensor({6, 40}, 9).to(DType::bf16);
    const Linear layer = make_linear(weights, bias, arithmetic),
                 more = make_linear(more_weights, {}, arithmetic);
    for (const std::int64_t rows : {0, 1, 3, 4, 5, 64, 65, 129, 300, 1025}) {
      const Tensor x = random_tensor({rows, 40}, 10);
      const Tensor y = Tensor::empty({rows, 150}, DType::f32), z = Tensor::empty({rows, 6}, DType::f32);
      const Linear* const layers[] = {&layer, &more};
      float* const outputs[] = {y.data<float>(), z.data<float>()};
      engine.apply(x.data<float>(), rows, layers, outputs);
      const bool rounded = arithmetic == DType::bf16 && rows > std::int64_t{kGemvRows};
      const Tensor seen = rounded ? x.to(DType::bf16) : x;
      EXPECT_LE(worst_error(seen, weights, bias, y), kF32Error)
          << to_string(arithmetic) << ", " << rows << " rows";
      EXPECT_LE(worst_error(seen, more_weights, {}, z), kF32Error)
          << to_string(arithmetic) << ", " << rows << " rows";
    }
  }
}

TEST(Linear, ResultsDoNotDependOnThreads) {
  for (const DType arithmetic : {DType::f32, DType::bf16}) {
    if (arithmetic == DType::bf16 && bf16_support() == Bf16Support::none) continue;
    const Linear layer = make_linear(random_tensor({300, 96}, 11), {}, arithmetic);
    for (const std::int64_t rows : {1, 100, 700}) {
      const Tensor x = random_tensor({rows, 96}, 12), expected = Tensor::empty({rows, 300}, DType::f32);
      LinearEngine(arithmetic, std::make_shared<ThreadPool>(1))
          .apply(x.data<float>(), rows, layer, expected.data<float>());
      for (const int threads : {2, 5}) {
        const Tensor y = Tensor::empty({rows, 300}, DType::f32);
        LinearEngine(arithmetic, std::make_shared<ThreadPool>(threads))
            .apply(x.data<float>(), rows, layer, y.data<float>());
        EXPECT_TRUE(std::ranges::equal(y.span<float>(), expected.span<float>()))
            << threads << " threads, " << rows;
      }
    }
  }
}

TEST(Linear, WeightsThatFitAreNotCopied) {
  const Tensor narrow = random_tensor({8, 8}, 13).to(DType::bf16), wide = random_tensor({8, 8}, 14);
  EXPECT_EQ(make_linear(narrow, {}, DType::bf16).many_rows.raw(), narrow.raw());
  EXPECT_EQ(make_linear(narrow, {}, DType::bf16).few_rows.raw(), narrow.raw());
  EXPECT_EQ(make_linear(narrow, {}, DType::f32).few_rows.raw(), narrow.raw());
  EXPECT_EQ(make_linear(wide, {}, DType::f32).many_rows.raw(), wide.raw());
}

TEST(Heads, SplitAndMergeAreInverse) {
  ThreadPool pool(2);
  const Tensor rows = random_tensor({37, 3 * 10}, 15), heads = Tensor::empty({1, 3, 37, 10}, DType::f32);
  split_heads(rows, {}, heads, pool);
  EXPECT_EQ(heads.data<float>()[(2 * 37 + 5) * 10 + 4], rows.data<float>()[5 * 30 + 2 * 10 + 4]);
  const Tensor back = Tensor::empty(rows.shape(), DType::f32);
  merge_heads(heads, back, pool);
  EXPECT_TRUE(std::ranges::equal(back.span<float>(), rows.span<float>()));
}

TEST(Heads, AnglesAreSinglePrecisionProducts) {
  ThreadPool pool(2);
  const std::vector<float> frequencies = {1.0f, 0.1f, 1.2345e-4f};
  const RotaryAngles angles(frequencies, 100000, 20, pool);
  for (std::int64_t t = 0; t < 20; ++t) {
    for (std::size_t i = 0; i < frequencies.size(); ++i) {
      const double angle = static_cast<float>(100000 + t) * frequencies[i];
      EXPECT_NEAR(angles.cosines(t)[i], std::cos(angle), 1e-6);
      EXPECT_NEAR(angles.sines(t)[i], std::sin(angle), 1e-6);
    }
  }
}

}  // namespace
}  // namespace veloxquant
