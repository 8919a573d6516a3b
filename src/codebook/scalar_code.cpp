// One index of a Lloyd-Max codebook a coordinate, and one scale a vector.
#include "codebook/row_code.hpp"
#include "codebook/scalar_table.hpp"
#include "codebook/vector_scale.hpp"
#include "pack/bits.hpp"
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
    const int d = spec_.head_dim;
    float z[kMaxHeadDim], y[kMaxHeadDim];
    std::uint8_t index[kMaxHeadDim];
    const double r = to_unit_variance(x, d, z);
    table_->quantize(z, d, index, y);
    store_vector_scale(mode_, r, z, y, d, scales);
    pack_codes(index, d, spec_.bits, codes);
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
