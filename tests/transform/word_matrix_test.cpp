#include "linalg/word_matrix.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "cpu_levels.hpp"
#include "linalg/matrix_vector.hpp"

namespace veloxquant {
namespace {

// The norm of a row or column, `stride` from entry to entry.
double norm_of(const float* x, int count, int stride) {
  double squares = 0;
  for (int i = 0; i < count; ++i) squares += std::pow(static_cast<double>(x[i * stride]), 2);
  return std::sqrt(squares);
}

struct Product {
  std::vector<float> x, matrix, y;
  int rows, columns, count;

  double exact(int v, int j) const {
    double sum = 0;
    for (int i = 0; i < rows; ++i) {
      sum += static_cast<double>(x[static_cast<std::size_t>(v * rows + i)]) *
             static_cast<double>(matrix[static_cast<std::size_t>(i * padded_columns(columns) + j)]);
    }
    return sum;
  }
  // The largest error over |x| |column|.
  double error() const {
    double largest = 0;
    const int width = padded_columns(columns);
    for (int v = 0; v < count; ++v) {
      for (int j = 0; j < columns; ++j) {
        const double scale = norm_of(&x[static_cast<std::size_t>(v * rows)], rows, 1) *
                             norm_of(&matrix[static_cast<std::size_t>(j)], rows, width);
        const double lost =
            std::abs(exact(v, j) - static_cast<double>(y[static_cast<std::size_t>(v * width + j)]));
        largest = std::max(largest, lost / std::max(scale, 1e-30));
      }
    }
    return largest;
  }
  void multiply() {
    const WordMatrix words(matrix.data(), rows + rows % 2, columns);
    std::vector<std::int32_t> rounded(static_cast<std::size_t>(count) * words.pairs());
    std::vector<float> steps(static_cast<std::size_t>(count));
    words.round_rows(x.data(), rows, count, rounded.data(), steps.data());
    y.resize(static_cast<std::size_t>(count) * words.stride());
    words.multiply(rounded.data(), steps.data(), count, y.data());
  }
};

Product random_product(int rows, int columns, int count, std::mt19937& random) {
  std::normal_distribution<float> normal;
  Product made{
      .x = std::vector<float>(static_cast<std::size_t>(count * rows)),
      .matrix = std::vector<float>(static_cast<std::size_t>((rows + rows % 2) * padded_columns(columns))),
      .y = {},
      .rows = rows,
      .columns = columns,
      .count = count};
  // Outliers, and columns of very different sizes.
  for (float& value : made.x) value = normal(random) * (random() % 16 == 0 ? 20.0f : 1.0f);
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j)
      made.matrix[static_cast<std::size_t>(i * padded_columns(columns) + j)] =
          normal(random) * std::exp2(static_cast<float>(j % 12));
  }
  return made;
}

TEST(WordMatrix, IsCloseToTheProduct) {
  test::on_every_cpu_level([&](const std::string& level) {
    std::mt19937 random(1);
    for (const int rows : {8, 23, 40, 80, 96, 128, 256}) {
      for (const int columns : {1, 16, 33, 70, 112}) {
        for (const int count : {1, 4, 7}) {
          Product product = random_product(rows, columns, count, random);
          product.multiply();
          EXPECT_LT(product.error(), 1e-4) << level << " " << rows << " " << columns << " " << count;
        }
      }
    }
  });
}

// Where a row is along a column, the sum is as large as it can be.
TEST(WordMatrix, SumsDoNotOverflow) {
  test::on_every_cpu_level([&](const std::string& level) {
    for (const int rows : {2, 16, 128, 512}) {
      for (const int kind : {0, 1, 2}) {
        Product product{.x = std::vector<float>(static_cast<std::size_t>(rows)),
                        .matrix = std::vector<float>(static_cast<std::size_t>(rows * kMatrixPad)),
                        .y = {},
                        .rows = rows,
                        .columns = 2,
                        .count = 1};
        for (int i = 0; i < rows; ++i) {
          // Equal entries, one alone, and falling ones.
          const float entry = kind == 0   ? 3.0f
                              : kind == 1 ? (i == rows / 2 ? 7.0f : 0.0f)
                                          : 1.0f / static_cast<float>(i + 1);
          product.x[static_cast<std::size_t>(i)] = entry;
          product.matrix[static_cast<std::size_t>(i * kMatrixPad)] = entry;
          product.matrix[static_cast<std::size_t>(i * kMatrixPad + 1)] = -entry;
        }
        product.multiply();
        // Equal entries are all rounded the same way.
        EXPECT_LT(product.error(), 1e-3) << level << " " << rows << " " << kind;
      }
    }
  });
}

TEST(WordMatrix, ZerosGiveZeros) {
  std::mt19937 random(2);
  Product product = random_product(32, 20, 2, random);
  std::fill(product.x.begin(), product.x.end(), 0.0f);
  product.multiply();
  for (const float y : product.y) EXPECT_EQ(y, 0.0f);
}

}  // namespace
}  // namespace veloxquant
