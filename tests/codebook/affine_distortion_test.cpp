// Distortion of the affine code on normal data, one group a vector.
#include <gtest/gtest.h>

#include <algorithm>

#include "codebook/samples.hpp"

namespace veloxquant {
namespace {

using testing::Statistics;

// The squared error of one group under mlx's rule, in double precision and with nothing rounded to f16.
double mlx_error(const float* x, int group, int bits) {
  const double low = *std::min_element(x, x + group), high = *std::max_element(x, x + group);
  const double n = (1 << bits) - 1;
  const bool low_side = -low > high;
  double scale = (low_side ? 1 : -1) * (high - low) / n, bias = 0;
  const double edge = low_side ? low : high, q0 = std::rint(edge / scale);
  if (q0 != 0) scale = edge / q0, bias = edge;
  double error = 0;
  for (int c = 0; c < group; ++c) {
    const double q = std::clamp(std::rint((x[c] - bias) / scale), 0.0, n), off = x[c] - (bias + scale * q);
    error += off * off;
  }
  return error;
}

// The plain rule: the grid runs from the minimum to the maximum.
double min_max_error(const float* x, int group, int bits) {
  const double low = *std::min_element(x, x + group), high = *std::max_element(x, x + group);
  const double step = (high - low) / ((1 << bits) - 1);
  double error = 0;
  for (int c = 0; c < group; ++c) {
    const double off = x[c] - (low + step * std::rint((x[c] - low) / step));
    error += off * off;
  }
  return error;
}

TEST(AffineDistortion, NormalData) {
  struct Row {
    int group;
    double min_max[3];  // known figures of the plain rule at 2, 3, 4 bits, which check the data and the
                        // reference
    double mlx[3];      // of mlx's rule: making zero and the larger end exact helps at 2 bits and costs at 4
  };
  constexpr Row kRows[] = {{32, {.1547, .0281, .0061}, {.1310, .0293, .00657}},
                           {64, {.2019, .0368, .0080}, {.1556, .0362, .00826}},
                           {128, {.2500, .0457, .0100}, {.1799, .0430, .01003}}};
  constexpr int kCount = 20000;
  for (const Row& row : kRows) {
    const auto rows =
        testing::normal_values(static_cast<std::size_t>(kCount) * static_cast<std::size_t>(row.group),
                               static_cast<std::uint64_t>(row.group));
    for (int bits = 2; bits <= 4; ++bits) {
      const auto code = make_affine_code(bits, row.group, row.group);
      double ours = 0, mlx = 0, plain = 0, energy = 0;
      for (std::size_t v = 0; v < rows.size(); v += static_cast<std::size_t>(row.group)) {
        const float* x = rows.data() + v;
        const double norm = testing::inner(x, x, row.group);
        ours += norm * testing::relative_error(x, testing::coded(*code, x).data(), row.group);
        mlx += mlx_error(x, row.group, bits);
        plain += min_max_error(x, row.group, bits);
        energy += norm;
      }
      const double min_max = row.min_max[bits - 2], form = row.mlx[bits - 2];
      EXPECT_NEAR(plain / energy, min_max, 0.01 * min_max) << row.group << " " << bits;
      EXPECT_NEAR(ours / energy, form, 0.015 * form) << row.group << " " << bits;
      EXPECT_NEAR(ours, mlx, 0.002 * mlx) << row.group << " " << bits;
    }
  }
}

}  // namespace
}  // namespace veloxquant
