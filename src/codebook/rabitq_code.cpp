// RaBitQ (Gao and Long, arXiv:2405.12497; Gao et al., arXiv:2409.09913): the point of a uniform grid with the
// largest cosine, and one scale a vector.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "codebook/grid_search.hpp"
#include "codebook/row_code.hpp"
#include "codebook/vector_scale.hpp"
#include "pack/pack_rows.hpp"
#include "transform/head_dim.hpp"

namespace veloxquant {
namespace {

// u -> (2 u + 1 - 2^bits) 2^(1 - bits): +-1 with one bit, and odd multiples of 2^(1 - bits) between -2 and 2.
std::shared_ptr<const std::vector<float>> grid_table(int bits) {
  const int count = 1 << bits;
  auto table = std::make_shared<std::vector<float>>();
  for (int u = 0; u < count; ++u)
    table->push_back(std::ldexp(static_cast<float>(2 * u + 1 - count), 1 - bits));
  return table;
}

class RabitqCode final : public RowCode {
 public:
  RabitqCode(int bits, int head_dim, ScaleMode mode)
      : RowCode({CodeKind::scalar, bits, head_dim, 0, grid_table(bits)}), mode_(mode) {}

  void encode(const float* x, std::uint8_t* codes, std::uint8_t* scales) const override {
    encode_rows(x, 1, codes, scales);
  }

  void encode_rows(const float* x, std::size_t count, std::uint8_t* codes,
                   std::uint8_t* scales) const override {
    const int d = spec_.head_dim;
    const auto width = static_cast<std::size_t>(d);
    GridSearch search(spec_.bits, d);
    float z[kMaxHeadDim], y[kMaxHeadDim];
    std::uint8_t index[kMaxHeadDim];
    double r[kMaxHeadDim];
    for (std::size_t rows; count > 0; count -= rows) {
      rows = std::min(count, rows_at_once(d));
      to_unit_variance(x, rows, d, z, r);
      for (std::size_t i = 0; i < rows; ++i) {
        // Vectors that a transform has driven beyond the range of floats: storing their scales says so.
        if (!std::isfinite(r[i])) std::fill_n(z + i * width, width, 0.0f);
        code_row(search, z + i * width, index + i * width, y + i * width);
      }
      store_vector_scales(mode_, r, z, y, rows, d, scales);
      pack_rows(index, rows, d, spec_.bits, codes);
      x += rows * width;
      codes += rows * spec_.code_bytes();
      scales += rows * spec_.scale_bytes();
    }
  }

 private:
  void code_row(GridSearch& search, const float* z, std::uint8_t* index, float* y) const {
    std::int32_t levels[kMaxHeadDim];
    search.find(z, levels);
    const std::int32_t half = 1 << (spec_.bits - 1);
    for (int c = 0; c < spec_.head_dim; ++c) {
      const std::int32_t u = std::signbit(z[c]) ? half - 1 - levels[c] : half + levels[c];
      index[c] = static_cast<std::uint8_t>(u);
      y[c] = (*spec_.table)[static_cast<std::size_t>(u)];
    }
  }

  ScaleMode mode_;
};

}  // namespace

std::unique_ptr<RowCode> make_rabitq_code(int bits, int head_dim, ScaleMode scale) {
  require_head_dim(head_dim, "rabitq code");
  if (bits < 1 || bits > 8)
    throw ConfigError("rabitq code", fmt::format("bits is {}, but must be from 1 to 8", bits));
  if (scale == ScaleMode::one) {
    throw ConfigError(
        "rabitq code",
        "scale one: the points of this grid have no norm that could be trusted; ask for unbiased or "
        "matched");
  }
  return std::make_unique<RabitqCode>(bits, head_dim, scale);
}

}  // namespace veloxquant
