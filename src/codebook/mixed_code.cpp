// Runs of different widths in one vector, over coordinates of variance one.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>
#include <veloxquant/core/error.hpp>

#include "codebook/row_code.hpp"
#include "codebook/row_math.hpp"
#include "codebook/scalar_table.hpp"
#include "codebook/trellis.hpp"
#include "pack/bits.hpp"
#include "transform/head_dim.hpp"

namespace veloxquant {
namespace {

constexpr const char* kOperation = "mixed code";
constexpr int kShortestTrellis = 8;

std::shared_ptr<const std::vector<float>> scaled(const std::vector<float>& values, double factor) {
  std::vector<float> table;
  for (const float value : values) table.push_back(static_cast<float>(value * factor));
  return std::make_shared<const std::vector<float>>(std::move(table));
}

void require_run(const RunPlan& run) {
  const bool trellis = run.kind == CodeKind::trellis;
  if (!trellis && run.kind != CodeKind::scalar) {
    throw ConfigError(kOperation,
                      fmt::format("a run of kind {}; known are scalar and trellis", to_string(run.kind)));
  }
  if (run.count < 1 || run.count > kMaxHeadDim ||
      (trellis && (run.count < kShortestTrellis || run.count % 2 != 0))) {
    throw ConfigError(kOperation,
                      fmt::format("a {} run of {} coordinates; it must have 1 to {}{}", to_string(run.kind),
                                  run.count, kMaxHeadDim, trellis ? ", at least 8 and an even number" : ""));
  }
}

class MixedCode final : public RowCode {
 public:
  MixedCode(std::span<const RunPlan> plan, bool gain, bool unbiased) : RowCode(CodeSpec{}) {
    spec_.kind = CodeKind::mixed;
    spec_.bits = 0;
    spec_.vector_scale = gain ? VectorScale::gain : VectorScale::none;
    for (const RunPlan& run : plan) {
      require_run(run);
      std::shared_ptr<const ScalarTable> scalar;
      if (run.kind == CodeKind::scalar) scalar = lloyd_max_table(run.bits, 0);
      const double distortion = scalar ? scalar->distortion : trellis_distortion(run.bits, run.count);
      const double factor = unbiased ? 1 / (1 - distortion) : 1;
      const auto values = scalar ? scaled(*scalar->centroids, factor) : trellis_values(run.bits, factor);
      spec_.runs.push_back({run.kind, run.bits, run.count, values});
      spec_.head_dim += run.count;
      scalar_.push_back(std::move(scalar));
    }
    if (spec_.head_dim > kMaxHeadDim) {
      throw ConfigError(
          kOperation, fmt::format("{} coordinates, but at most {} are served", spec_.head_dim, kMaxHeadDim));
    }
  }

  void encode(const float* x, std::uint8_t* codes, std::uint8_t* scales) const override {
    float z[kMaxHeadDim];
    if (spec_.vector_scale == VectorScale::gain) {
      const int u = nearest_gain(x);
      scales[0] = static_cast<std::uint8_t>(u);
      const float inverse = 1 / gain_value(u);
      for (int c = 0; c < spec_.head_dim; ++c) z[c] = x[c] * inverse;
      x = z;
    }
    for (std::size_t i = 0; i < spec_.runs.size(); ++i) {
      const CodeRun& run = spec_.runs[i];
      encode_run(run, scalar_[i].get(), x, codes);
      codes += run.code_bytes();
      x += run.count;
    }
  }

  std::size_t nbytes() const noexcept override {
    std::size_t bytes = 0;
    for (const CodeRun& run : spec_.runs) bytes += sizeof(float) * run.table->size();
    return bytes;
  }

 private:
  static std::shared_ptr<const std::vector<float>> trellis_values(int bits, double factor) {
    std::vector<float> values;
    for (const std::int16_t value : trellis_table(bits).values)
      values.push_back(static_cast<float>(value) / 4096.0f);
    return scaled(values, factor);
  }

  // The step whose gain is nearest to the rms in the logarithm. Squares are compared with the squares of the
  // borders, which lie halfway between two steps: no logarithm, whose last bit could differ between systems.
  int nearest_gain(const float* x) const {
    const double square = spec_.head_dim == 0 ? 1 : dot(x, x, spec_.head_dim) / spec_.head_dim;
    int u = 0;
    for (; u + 1 < kGainSteps; ++u) {
      const double border = static_cast<double>(gain_value(u)) * static_cast<double>(gain_value(u + 1));
      if (square < border) break;
    }
    return u;
  }

  static void encode_run(const CodeRun& run, const ScalarTable* scalar, const float* x, std::uint8_t* codes) {
    if (scalar == nullptr) return trellis_encode(trellis_table(run.bits), x, run.count, codes);
    std::uint8_t index[kMaxHeadDim];
    float y[kMaxHeadDim];
    scalar->quantize(x, run.count, index, y);
    pack_codes(index, run.count, run.bits, codes);
  }

  std::vector<std::shared_ptr<const ScalarTable>> scalar_;  // by run; null for a trellis
};

}  // namespace

std::unique_ptr<RowCode> make_mixed_code(std::span<const RunPlan> plan, bool gain, bool unbiased) {
  return std::make_unique<MixedCode>(plan, gain, unbiased);
}

}  // namespace veloxquant
