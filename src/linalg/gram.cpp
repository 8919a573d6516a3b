#include "linalg/gram.hpp"

#include <algorithm>
#include <vector>

#include "linalg/matrix_vector.hpp"

namespace veloxquant {
namespace {

constexpr std::size_t kBlock = 256;  // rows summed in single precision

}  // namespace

void add_gram(const float* rows, std::size_t count, int n, double* sums) {
  const auto width = static_cast<std::size_t>(n), padded = static_cast<std::size_t>(padded_columns(n));
  std::vector<float> matrix(kBlock * padded), transposed(width * kBlock), product(width * width + kMatrixPad);
  for (std::size_t begin = 0; begin < count; begin += kBlock) {
    const std::size_t block = std::min(kBlock, count - begin);
    for (std::size_t v = 0; v < block; ++v) {
      const float* row = rows + (begin + v) * width;
      std::copy(row, row + width, matrix.data() + v * padded);
      for (std::size_t i = 0; i < width; ++i) transposed[i * block + v] = row[i];
    }
    multiply_rows(transposed.data(), n, matrix.data(), static_cast<int>(block), n, product.data());
    for (std::size_t i = 0; i < width * width; ++i) sums[i] += static_cast<double>(product[i]);
  }
}

}  // namespace veloxquant
