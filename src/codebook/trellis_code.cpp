// A trellis path a vector, and one scale.
#include <array>
#include <mutex>

#include <fmt/format.h>

#include "codebook/row_code.hpp"
#include "codebook/trellis.hpp"
#include "codebook/vector_scale.hpp"
#include "transform/head_dim.hpp"

namespace veloxquant {
namespace {

// The values by window, shared by all codes of one width.
std::shared_ptr<const std::vector<float>> float_table(const TrellisTable& table) {
  static std::mutex mutex;
  static std::array<std::shared_ptr<const std::vector<float>>, 5> made;
  const std::scoped_lock lock(mutex);
  auto& values = made[static_cast<std::size_t>(table.bits)];
  if (!values) {
    std::vector<float> floats;
    for (const std::int16_t value : table.values) floats.push_back(static_cast<float>(value) / 4096.0f);
    values = std::make_shared<const std::vector<float>>(std::move(floats));
  }
  return values;
}

class TrellisCode final : public RowCode {
 public:
  TrellisCode(const TrellisTable& table, int head_dim, ScaleMode mode)
      : RowCode({CodeKind::trellis, table.bits, head_dim, 0, float_table(table)}),
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
