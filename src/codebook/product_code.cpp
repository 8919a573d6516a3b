#include "codebook/product_code.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "codebook/product_table.hpp"
#include "codebook/vector_scale.hpp"
#include "transform/head_dim.hpp"

namespace veloxquant {
namespace {

// `count` indices below 2^12 -> 12 bits each, the unused bits of the last byte zero.
void pack_twelve(const std::uint16_t* index, std::size_t count, std::uint8_t* codes) {
  for (; count >= 2; count -= 2, index += 2, codes += 3) {
    codes[0] = static_cast<std::uint8_t>(index[0]);
    codes[1] = static_cast<std::uint8_t>(index[0] >> 8 | index[1] << 4);
    codes[2] = static_cast<std::uint8_t>(index[1] >> 4);
  }
  if (count == 0) return;
  codes[0] = static_cast<std::uint8_t>(index[0]);
  codes[1] = static_cast<std::uint8_t>(index[0] >> 8);
}

class ProductCode final : public RowCode {
 public:
  ProductCode(std::span<const float> centroids, int bits, int dims, int head_dim, ScaleMode mode)
      : RowCode({CodeKind::product, bits, head_dim, dims,
                 std::make_shared<const std::vector<float>>(centroids.begin(), centroids.end())}),
        table_(centroids, bits, dims),
        mode_(mode) {}

  void encode(const float* x, std::uint8_t* codes, std::uint8_t* scales) const override {
    encode_rows(x, 1, codes, scales);
  }

  void encode_rows(const float* x, std::size_t count, std::uint8_t* codes,
                   std::uint8_t* scales) const override {
    const int d = spec_.head_dim;
    const auto dims = static_cast<std::size_t>(spec_.group), parts = static_cast<std::size_t>(d) / dims;
    float z[kMaxHeadDim], y[kMaxHeadDim];
    double r[kMaxHeadDim];
    std::uint16_t index[kMaxHeadDim];
    for (std::size_t rows; count > 0; count -= rows) {
      rows = std::min(count, rows_at_once(d));
      to_unit_variance(x, rows, d, z, r);
      table_.nearest(z, rows * parts, index);
      for (std::size_t i = 0; i < rows * parts; ++i)
        std::copy_n(spec_.table->data() + index[i] * dims, dims, y + i * dims);
      store_vector_scales(mode_, r, z, y, rows, d, scales);
      for (std::size_t i = 0; i < rows; ++i, codes += spec_.code_bytes()) {
        if (spec_.bits == 12) {
          pack_twelve(index + i * parts, parts, codes);
        } else {
          std::copy_n(index + i * parts, parts, codes);
        }
      }
      x += rows * static_cast<std::size_t>(d);
      scales += rows * spec_.scale_bytes();
    }
  }

  std::size_t nbytes() const noexcept override { return RowCode::nbytes() + table_.nbytes(); }

 private:
  ProductTable table_;
  ScaleMode mode_;
};

}  // namespace

std::unique_ptr<RowCode> make_product_code(std::span<const float> centroids, int bits, int dims, int head_dim,
                                           ScaleMode scale) {
  require_head_dim(head_dim, "product code");
  if (head_dim % dims != 0) {
    throw ConfigError("product code",
                      fmt::format("head_dim is {}, but must be a multiple of the {} coordinates of a "
                                  "sub-vector",
                                  head_dim, dims));
  }
  return std::make_unique<ProductCode>(centroids, bits, dims, head_dim, scale);
}

}  // namespace veloxquant
