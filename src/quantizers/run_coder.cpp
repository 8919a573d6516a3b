#include "quantizers/run_coder.hpp"

#include <array>
#include <cmath>
#include <utility>

#include "codebook/row_math.hpp"
#include "codebook/scalar_table.hpp"
#include "codebook/trellis.hpp"
#include "pack/bits.hpp"
#include "transform/head_dim.hpp"

namespace veloxquant {
namespace {

constexpr int kGains = 16, kUnitGain = 8;

std::size_t run_bytes(const CoordinateRun& run) { return packed_bytes(run.count, run.bits); }

std::array<float, kGains> make_gains() {
  std::array<float, kGains> gains{};
  for (int i = 0; i < kGains; ++i) gains[static_cast<std::size_t>(i)] = std::exp2(static_cast<float>(i - kUnitGain) / 4);
  return gains;
}

// Mean squares between neighbouring gains: 2^((k + 1/2) / 2).
std::array<double, kGains - 1> make_limits() {
  std::array<double, kGains - 1> limits{};
  for (int i = 0; i + 1 < kGains; ++i) limits[static_cast<std::size_t>(i)] = std::exp2((i - kUnitGain + 0.5) / 2);
  return limits;
}

}  // namespace

std::uint8_t nearest_gain(const float* z, int count) {
  static const auto limits = make_limits();
  const double square = dot(z, z, count) / count;
  std::uint8_t number = 0;
  for (const double limit : limits) number = static_cast<std::uint8_t>(number + (square > limit ? 1 : 0));
  return number;
}

float gain_value(std::uint8_t number) {
  static const auto gains = make_gains();
  return gains[number & 15u];
}

RunCoder::RunCoder(std::vector<CoordinateRun> runs, bool gain) : runs_(std::move(runs)), gain_(gain && !runs_.empty()) {
  for (const CoordinateRun& run : runs_) {
    count_ += run.count;
    code_bytes_ += run_bytes(run);
  }
}

std::uint8_t RunCoder::encode(float* z, std::uint8_t* codes) const {
  std::uint8_t gain = kUnitGain;
  if (gain_) {
    gain = nearest_gain(z, count_);
    const float inverse = 1 / gain_value(gain);
    for (int c = 0; c < count_; ++c) z[c] *= inverse;
  }
  for (const CoordinateRun& run : runs_) {
    if (run.kind == CodeKind::trellis) {
      trellis_encode(trellis_table(run.bits), z, run.count, codes);
    } else {
      std::uint8_t index[kMaxHeadDim];
      float y[kMaxHeadDim];
      lloyd_max_table(run.bits, 0)->quantize(z, run.count, index, y);
      pack_codes(index, run.count, run.bits, codes);
    }
    z += run.count;
    codes += run_bytes(run);
  }
  return gain;
}

void RunCoder::decode(const std::uint8_t* codes, std::uint8_t gain, bool unbiased, float* y) const {
  const float scale = gain_ ? gain_value(gain) : 1;
  for (const CoordinateRun& run : runs_) {
    if (run.kind == CodeKind::trellis) {
      trellis_decode(trellis_table(run.bits), codes, run.count, y);
    } else {
      const auto table = lloyd_max_table(run.bits, 0);
      for (int c = 0; c < run.count; ++c) {
        const auto at = static_cast<std::size_t>(c) * static_cast<std::size_t>(run.bits);
        y[c] = (*table->centroids)[read_bits(codes, at, run.bits)];
      }
    }
    const double kept = unbiased ? 1 - code_distortion(run.kind, run.bits) : 1;
    const auto factor = static_cast<float>(static_cast<double>(scale) / kept);
    for (int c = 0; c < run.count; ++c) y[c] *= factor;
    y += run.count;
    codes += run_bytes(run);
  }
}

}  // namespace veloxquant
