// Product codes: the search against a double-precision one and its own definition, the bytes, refusals.
#include "codebook/product_code.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <veloxquant/core/error.hpp>

#include "codebook/product_table.hpp"
#include "codebook/samples.hpp"
#include "cpu_levels.hpp"

namespace veloxquant {
namespace {

using testing::normal_values;

struct Shape {
  int bits, dims;
};
constexpr Shape kShapes[] = {{8, 4}, {8, 8}, {12, 4}, {12, 8}};

std::vector<float> random_centroids(Shape shape, std::uint64_t seed) {
  return normal_values(static_cast<std::size_t>(shape.dims) << shape.bits, seed);
}

double squared_distance(const float* a, const float* b, int dims) {
  double sum = 0;
  for (int c = 0; c < dims; ++c)
    sum += (static_cast<double>(a[c]) - b[c]) * (static_cast<double>(a[c]) - b[c]);
  return sum;
}

TEST(ProductTable, FindsTheNearestCentroid) {
  for (const Shape shape : kShapes) {
    const std::vector<float> centroids = random_centroids(shape, 1);
    const ProductTable table(centroids, shape.bits, shape.dims);
    constexpr std::size_t kCount = 203;  // not a multiple of those searched together
    const std::vector<float> x = normal_values(kCount * static_cast<std::size_t>(shape.dims), 2);
    std::vector<std::uint16_t> index(kCount);
    table.nearest(x.data(), kCount, index.data());
    for (std::size_t i = 0; i < kCount; ++i) {
      const float* sub = x.data() + i * static_cast<std::size_t>(shape.dims);
      double least = 1e300;
      for (int j = 0; j < table.count(); ++j)
        least = std::min(least, squared_distance(sub, centroids.data() + j * shape.dims, shape.dims));
      // f32 rounding of terms of magnitude 10 may choose another one of nearly equal ones.
      EXPECT_LE(squared_distance(sub, centroids.data() + index[i] * shape.dims, shape.dims), least + 1e-5)
          << shape.bits << " bits, " << shape.dims << " dims, sub-vector " << i;
    }
  }
}

TEST(ProductTable, EveryCpuLevelFollowsTheDefinition) {
  for (const Shape shape : kShapes) {
    const ProductTable table(random_centroids(shape, 3), shape.bits, shape.dims);
    constexpr std::size_t kCount = 130;
    const std::vector<float> x = normal_values(kCount * static_cast<std::size_t>(shape.dims), 4);
    test::on_every_cpu_level([&](const std::string& level) {
      std::vector<std::uint16_t> index(kCount);
      table.nearest(x.data(), kCount, index.data());
      for (std::size_t i = 0; i < kCount; ++i) {
        ASSERT_EQ(index[i], table.nearest(x.data() + i * static_cast<std::size_t>(shape.dims)))
            << level << ", " << shape.bits << " bits, " << shape.dims << " dims";
      }
    });
  }
}

TEST(ProductTable, OfEqualCentroidsTheFirstIsTaken) {
  for (const Shape shape : kShapes) {
    const auto values = static_cast<std::size_t>(shape.dims) << shape.bits;
    const ProductTable table(std::vector<float>(values, 0.5f), shape.bits, shape.dims);
    const std::vector<float> x = normal_values(5 * static_cast<std::size_t>(shape.dims), 5);
    test::on_every_cpu_level([&](const std::string& level) {
      std::uint16_t index[5];
      table.nearest(x.data(), 5, index);
      for (const std::uint16_t at : index) EXPECT_EQ(at, 0) << level;
    });
  }
}

// Sub-vectors of root mean square one: so is every vector made of them.
std::vector<float> on_sphere(std::vector<float> centroids, int dims) {
  for (std::size_t at = 0; at < centroids.size(); at += static_cast<std::size_t>(dims)) {
    float* centroid = centroids.data() + at;
    const double scale = std::sqrt(dims / testing::inner(centroid, centroid, dims));
    for (int c = 0; c < dims; ++c) centroid[c] = static_cast<float>(centroid[c] * scale);
  }
  return centroids;
}

// Vectors whose sub-vectors are centroids come back as they were, whatever bit an index begins at.
TEST(ProductCode, CentroidsComeBack) {
  for (const Shape shape : kShapes) {
    const std::vector<float> centroids = on_sphere(random_centroids(shape, 6), shape.dims);
    for (const int parts : {2, 4, 5, 16, 31}) {
      const int head_dim = parts * shape.dims;
      if (head_dim % 2 != 0) continue;
      const auto code = make_product_code(centroids, shape.bits, shape.dims, head_dim, ScaleMode::one);
      EXPECT_EQ(code->spec().code_bytes(), static_cast<std::size_t>((parts * shape.bits + 7) / 8));
      EXPECT_EQ(code->spec().scale_bytes(), 2u);
      std::vector<float> x;
      std::vector<unsigned> indices;
      for (int i = 0; i < parts; ++i) {
        indices.push_back(static_cast<unsigned>((i * 977 + 255) % (1 << shape.bits)));
        const auto from = centroids.begin() + indices.back() * static_cast<unsigned>(shape.dims);
        x.insert(x.end(), from, from + shape.dims);
      }
      for (float& value : x) value *= 3;
      const testing::CodedRow row = testing::encode(*code, x.data());
      // The bytes are those of the bit string that CodeSpec draws.
      for (std::size_t bit = 0; bit < 8 * row.codes.size(); ++bit) {
        const std::size_t part = bit / static_cast<std::size_t>(shape.bits);
        const unsigned wanted =
            part < indices.size() ? indices[part] >> bit % static_cast<std::size_t>(shape.bits) & 1u : 0u;
        EXPECT_EQ(row.codes[bit / 8] >> bit % 8 & 1u, wanted) << "bit " << bit;
      }
      std::vector<float> y(x.size());
      decode_row(code->spec(), row.codes.data(), row.scales.data(), y.data());
      for (std::size_t c = 0; c < x.size(); ++c) EXPECT_NEAR(y[c], x[c], 2e-3 * std::abs(x[c]) + 1e-6);
    }
  }
}

TEST(ProductCode, ManyVectorsAreCodedAsOne) {
  for (const Shape shape : kShapes) {
    for (const int head_dim : {24, 80, 128, 256}) {
      const auto code = make_product_code(random_centroids(shape, 7), shape.bits, shape.dims, head_dim,
                                          ScaleMode::unbiased);
      constexpr std::size_t kRows = 21;
      const std::size_t bytes = code->spec().code_bytes();
      const std::vector<float> x = normal_values(kRows * static_cast<std::size_t>(head_dim), 8);
      std::vector<std::uint8_t> codes(kRows * bytes), scales(2 * kRows);
      code->encode_rows(x.data(), kRows, codes.data(), scales.data());
      for (std::size_t r = 0; r < kRows; ++r) {
        const auto one = testing::encode(*code, x.data() + r * static_cast<std::size_t>(head_dim));
        EXPECT_TRUE(std::equal(one.codes.begin(), one.codes.end(), codes.data() + r * bytes));
        EXPECT_TRUE(std::equal(one.scales.begin(), one.scales.end(), scales.data() + r * 2));
      }
    }
  }
}

TEST(ProductCode, ZeroVectorsDecodeToZeros) {
  const auto code = make_product_code(random_centroids({8, 4}, 11), 8, 4, 64, ScaleMode::unbiased);
  for (const float value : testing::coded(*code, std::vector<float>(64).data())) EXPECT_EQ(value, 0.0f);
}

// E<q, y> = <q, x> for queries in any direction: the decoded vector has the product |x|^2 with x.
TEST(ProductCode, UnbiasedScalesKeepInnerProducts) {
  const auto code = make_product_code(random_centroids({8, 8}, 12), 8, 8, 128, ScaleMode::unbiased);
  const std::vector<float> x = normal_values(20 * 128, 13);
  for (std::size_t at = 0; at < x.size(); at += 128) {
    const std::vector<float> y = testing::coded(*code, x.data() + at);
    const double square = testing::inner(x.data() + at, x.data() + at, 128);
    EXPECT_NEAR(testing::inner(x.data() + at, y.data(), 128), square, 1e-3 * square);
  }
}

TEST(ProductCode, CountsItsTables) {
  const auto code = make_product_code(random_centroids({12, 4}, 9), 12, 4, 128, ScaleMode::one);
  // Centroids as decoding has them, and the columns of the search with half the squares.
  EXPECT_EQ(code->nbytes(), sizeof(float) * 4096 * (4 + 5));
}

TEST(ProductCode, RefusesHeadsThatAreNoMultipleOfItsSubVectors) {
  EXPECT_THROW(make_product_code(random_centroids({8, 8}, 10), 8, 8, 100, ScaleMode::one), ConfigError);
  EXPECT_THROW(make_product_code(random_centroids({8, 4}, 10), 8, 4, 6, ScaleMode::one), ConfigError);
}

}  // namespace
}  // namespace veloxquant
