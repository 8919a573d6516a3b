// One index of a Lloyd-Max codebook a coordinate, and one scale a vector.
#include <algorithm>

#include "codebook/row_code.hpp"
#include "codebook/scalar_table.hpp"
#include "codebook/vector_scale.hpp"
#include "pack/pack_rows.hpp"
#include "transform/head_dim.hpp"

namespace veloxquant {
namespace {

class ScalarCode final : public RowCode {
 public:
  ScalarCode(std::shared_ptr<const ScalarTable> table, int head_dim, ScaleMode mode)
      : RowCode({CodeKind::scalar, table->bits, head_dim, 0, table->centroids}),
        table_(std::move(table)),
        mode_(mode) {}

  void encode(const float* x, std::uint8_t* codes, std::uint8_t* scales) const override {
    encode_rows(x, 1, codes, scales);
  }

  void encode_rows(const float* x, std::size_t count, std::uint8_t* codes,
                   std::uint8_t* scales) const override {
    const int d = spec_.head_dim;
    float z[kMaxHeadDim], y[kMaxHeadDim];
    std::uint8_t index[kMaxHeadDim];
    double r[kMaxHeadDim];
    for (std::size_t rows; count > 0; count -= rows) {
      rows = std::min(count, rows_at_once(d));
      to_unit_variance(x, rows, d, z, r);
      table_->quantize(z, static_cast<int>(rows) * d, index, y);
      store_vector_scales(mode_, r, z, y, rows, d, scales);
      pack_rows(index, rows, d, spec_.bits, codes);
      x += rows * static_cast<std::size_t>(d);
      codes += rows * spec_.code_bytes();
      scales += rows * spec_.scale_bytes();
    }
  }

 private:
  std::shared_ptr<const ScalarTable> table_;
  ScaleMode mode_;
};

}  // namespace

std::unique_ptr<RowCode> make_scalar_code(int bits, int head_dim, ScaleMode scale) {
  require_head_dim(head_dim, "scalar code");
  return std::make_unique<ScalarCode>(lloyd_max_table(bits, head_dim), head_dim, scale);
}

}  // namespace veloxquant
