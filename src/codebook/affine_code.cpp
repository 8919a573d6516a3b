// Affine codes, as mlx and mlx-lm define them: a group of coordinates shares a scale s and a bias z, x ~ s *
// u + z.
//
// s starts as (max - min) / (2^bits - 1), at least 1e-7, negative when the maximum is the larger end in
// magnitude. The larger end, `edge`, is then made exact: with q0 = rint(edge / s) it becomes s = edge / q0
// and z = edge, so that zero lies on the grid as well (u = -q0); a group whose q0 is 0 keeps s and takes z =
// 0. s and z are stored as f16. The codes are chosen for the stored values, u = rint((x - z) / s) clipped to
// the range, since those are what decoding uses; mlx chooses them for the values before rounding, which
// differs only where a coordinate lies within the rounding error of a threshold.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "codebook/row_code.hpp"
#include "codebook/row_math.hpp"
#include "pack/bits.hpp"
#include "transform/head_dim.hpp"

namespace veloxquant {
namespace {

struct Grid {
  float scale = 0, bias = 0;
};

Grid grid_of(const float* x, int count, float levels) {
  float low = x[0], high = x[0];
  for (int c = 1; c < count; ++c) {
    low = x[c] < low ? x[c] : low;
    high = x[c] > high ? x[c] : high;
  }
  const bool low_side = std::fabs(low) > std::fabs(high);
  const float step = std::max((high - low) / levels, 1e-7f);
  const float scale = low_side ? step : -step;
  const float edge = low_side ? low : high;
  const float at = std::rint(edge / scale);
  return at == 0 ? Grid{scale, 0.0f} : Grid{edge / at, edge};
}

class AffineCode final : public RowCode {
 public:
  AffineCode(int bits, int group, int head_dim)
      : RowCode({CodeKind::affine, bits, head_dim, group, nullptr}) {}

  void encode(const float* x, std::uint8_t* codes, std::uint8_t* scales) const override {
    const int groups = spec_.head_dim / spec_.group;
    const std::size_t step = packed_bytes(spec_.group, spec_.bits);
    for (int g = 0; g < groups; ++g, x += spec_.group, codes += step) {
      const Grid exact = grid_of(x, spec_.group, levels());
      const Grid stored{store_f16(exact.scale, "affine scale", scales, g),
                        store_f16(exact.bias, "affine bias", scales, groups + g)};
      quantize(x, stored, codes);
    }
  }

 private:
  float levels() const { return static_cast<float>((1 << spec_.bits) - 1); }

  void quantize(const float* x, Grid grid, std::uint8_t* codes) const {
    std::uint8_t u[kMaxHeadDim];
    const float top = levels();
    for (int c = 0; c < spec_.group; ++c) {
      const float at = std::rint((x[c] - grid.bias) / grid.scale);
      const float capped = at < top ? at : top;
      u[c] = static_cast<std::uint8_t>(static_cast<int>(capped > 0 ? capped : 0.0f));
    }
    pack_codes(u, spec_.group, spec_.bits, codes);
  }
};

}  // namespace

std::unique_ptr<RowCode> make_affine_code(int bits, int group, int head_dim) {
  require_head_dim(head_dim, "affine code");
  if (bits < 2 || bits > 8 || bits == 7)
    throw ConfigError("affine code", fmt::format("bits is {}, but must be 2, 3, 4, 5, 6 or 8", bits));
  if (group != 32 && group != 64 && group != 128)
    throw ConfigError("affine code", fmt::format("group is {}, but must be 32, 64 or 128", group));
  if (head_dim % group != 0)
    throw ConfigError("affine code",
                      fmt::format("head_dim is {}, but must be a multiple of the group of {}; use a "
                                  "smaller group or another code",
                                  head_dim, group));
  return std::make_unique<AffineCode>(bits, group, head_dim);
}

}  // namespace veloxquant
