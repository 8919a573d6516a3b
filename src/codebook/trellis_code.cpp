// A trellis path a vector, and one scale.
#include <fmt/format.h>

#include <algorithm>
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
    encode_rows(x, 1, codes, scales);
  }

  void encode_rows(const float* x, std::size_t count, std::uint8_t* codes,
                   std::uint8_t* scales) const override {
    const int d = spec_.head_dim;
    float z[kMaxHeadDim], y[kMaxHeadDim];
    double r[kMaxHeadDim];
    for (std::size_t rows; count > 0; count -= rows) {
      rows = std::min(count, rows_at_once(d));
      to_unit_variance(x, rows, d, z, r);
      trellis_encode(table_, z, rows, d, codes);
      for (std::size_t i = 0; i < rows; ++i, codes += spec_.code_bytes())
        trellis_decode(table_, codes, d, y + i * static_cast<std::size_t>(d));
      store_vector_scales(mode_, r, z, y, rows, d, scales);
      x += rows * static_cast<std::size_t>(d);
      scales += rows * spec_.scale_bytes();
    }
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
