// A trellis path a vector, and one scale.
#include <fmt/format.h>

#include <veloxquant/core/error.hpp>

#include "codebook/codebook_tensors.hpp"
#include "codebook/row_code.hpp"
#include "codebook/trellis.hpp"
#include "codebook/vector_scale.hpp"
#include "transform/head_dim.hpp"

namespace veloxquant {
namespace {

class TrellisCode final : public RowCode {
 public:
  TrellisCode(const TrellisTable& table, int head_dim, ScaleMode mode)
      : RowCode({CodeKind::trellis, table.bits, head_dim, 0, shared_values(table)}),
        table_(table),
        mode_(mode) {}

  void encode(const float* x, std::uint8_t* codes, std::uint8_t* scales) const override {
    const int d = spec_.head_dim;
    float z[kMaxHeadDim], y[kMaxHeadDim];
    const double r = to_unit_variance(x, d, z);
    trellis_encode(table_, z, d, codes);
    trellis_decode(table_, codes, d, y);
    store_vector_scale(mode_, r, z, y, d, scales);
  }

 private:
  const TrellisTable& table_;
  ScaleMode mode_;
};

}  // namespace

std::unique_ptr<RowCode> make_trellis_code(int bits, int head_dim, ScaleMode scale) {
  require_head_dim(head_dim, "trellis code");
  if (head_dim < 16)
    throw ConfigError("trellis code", fmt::format("head_dim is {}, but must be at least 16", head_dim));
  return std::make_unique<TrellisCode>(trellis_table(bits), head_dim, scale);
}

}  // namespace veloxquant
