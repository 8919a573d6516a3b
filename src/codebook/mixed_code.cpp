// Runs of different widths in one vector, over coordinates of variance one.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
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

std::shared_ptr<const std::vector<float>> scaled(const std::vector<float>& values, double factor) {
  std::vector<float> table;
  for (const float value : values) table.push_back(static_cast<float>(value * factor));
  return std::make_shared<const std::vector<float>>(std::move(table));
}

void require_runs(std::span<const RunPlan> plan) {
  const auto strings = std::count_if(plan.begin(), plan.end(),
                                     [](const RunPlan& run) { return run.kind == CodeKind::trellis; });
  const int unit = strings > 1 ? 8 : 2;
  int dims = 0;
  for (const RunPlan& run : plan) {
    const bool trellis = run.kind == CodeKind::trellis;
    if (!trellis && run.kind != CodeKind::scalar) {
      throw ConfigError(kOperation,
                        fmt::format("a run of kind {}; known are scalar and trellis", to_string(run.kind)));
    }
    if (run.count < 1 || run.count > kMaxHeadDim || (trellis && (run.count < 8 || run.count % unit != 0))) {
      throw ConfigError(
          kOperation,
          fmt::format("a {} run of {} coordinates; it must have 1 to {}{}", to_string(run.kind), run.count,
                      kMaxHeadDim, trellis ? fmt::format(", at least 8 and a multiple of {}", unit) : ""));
    }
    dims += run.count;
  }
  if (dims > kMaxHeadDim) {
    throw ConfigError(kOperation,
                      fmt::format("{} coordinates, but at most {} are served", dims, kMaxHeadDim));
  }
}

std::vector<TrellisRun> string_of(std::span<const RunPlan> plan) {
  std::vector<TrellisRun> string;
  for (const RunPlan& run : plan) {
    if (run.kind == CodeKind::trellis) string.push_back({&trellis_table(run.bits), run.count});
  }
  return string;
}

class MixedCode final : public RowCode {
 public:
  MixedCode(std::span<const RunPlan> plan, bool gain, bool unbiased) : RowCode(CodeSpec{}) {
    spec_.kind = CodeKind::mixed;
    spec_.bits = 0;
    spec_.vector_scale = gain ? VectorScale::gain : VectorScale::none;
    require_runs(plan);
    string_ = string_of(plan);
    const std::vector<double> distortions = run_distortions(plan);
    for (std::size_t i = 0; i < plan.size(); ++i) {
      const RunPlan& run = plan[i];
      const double factor = unbiased ? 1 / (1 - distortions[i]) : 1;
      std::shared_ptr<const ScalarTable> scalar;
      if (run.kind == CodeKind::scalar) scalar = lloyd_max_table(run.bits, 0);
      const auto values = scalar ? scaled(*scalar->centroids, factor) : trellis_values(run.bits, factor);
      spec_.runs.push_back({run.kind, run.bits, run.count, values});
      spec_.head_dim += run.count;
      scalar_.push_back(std::move(scalar));
    }
  }

  void encode(const float* x, std::uint8_t* codes, std::uint8_t* scales) const override {
    encode_rows(x, 1, codes, scales);
  }

  void encode_rows(const float* x, std::size_t count, std::uint8_t* codes,
                   std::uint8_t* scales) const override {
    constexpr std::size_t kRows = 4;  // that a trellis search takes side by side
    const auto dims = static_cast<std::size_t>(spec_.head_dim);
    float z[kRows * kMaxHeadDim];
    for (std::size_t rows; count > 0; count -= rows) {
      rows = std::min(count, kRows);
      for (std::size_t i = 0; i < rows; ++i) {
        const float inverse = has_gain() ? store_gain(x + i * dims, scales + i) : 1.0f;
        for (std::size_t c = 0; c < dims; ++c) z[i * dims + c] = x[i * dims + c] * inverse;
      }
      encode_scalar_runs(z, rows, codes);
      if (!string_.empty()) encode_string(z, rows, codes);
      x += rows * dims;
      codes += rows * spec_.code_bytes();
      scales += rows * spec_.scale_bytes();
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

  bool has_gain() const { return spec_.vector_scale == VectorScale::gain; }

  // Stores the step whose gain is nearest to the rms in the logarithm; returns one over the gain. Squares are compared
  // with the squares of the borders, which lie halfway between two steps: no logarithm, whose last bit could differ
  // between systems.
  float store_gain(const float* x, std::uint8_t* scale) const {
    const double square = spec_.head_dim == 0 ? 1 : dot(x, x, spec_.head_dim) / spec_.head_dim;
    int u = 0;
    for (; u + 1 < kGainSteps; ++u) {
      const double border = static_cast<double>(gain_value(u)) * static_cast<double>(gain_value(u + 1));
      if (square < border) break;
    }
    *scale = static_cast<std::uint8_t>(u);
    return 1 / gain_value(u);
  }

  void encode_scalar_runs(const float* z, std::size_t rows, std::uint8_t* codes) const {
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t r = 0; r < spec_.runs.size(); ++r) {
        const CodeRun& run = spec_.runs[r];
        if (scalar_[r] != nullptr) {
          std::uint8_t index[kMaxHeadDim];
          float y[kMaxHeadDim];
          scalar_[r]->quantize(z, run.count, index, y);
          pack_codes(index, run.count, run.bits, codes);
        }
        codes += run.code_bytes();
        z += run.count;
      }
    }
  }

  // What the trellis runs of the rows have, side by side -> their string -> the places of their bytes.
  void encode_string(const float* z, std::size_t rows, std::uint8_t* codes) const {
    thread_local std::vector<float> side_by_side;
    thread_local std::vector<std::uint8_t> strings;
    side_by_side.clear();
    for (std::size_t i = 0; i < rows; ++i) {
      for (const CodeRun& run : spec_.runs) {
        if (run.kind == CodeKind::trellis) side_by_side.insert(side_by_side.end(), z, z + run.count);
        z += run.count;
      }
    }
    strings.resize(rows * trellis_code_bytes(string_));
    trellis_encode(string_, side_by_side.data(), rows, strings.data());
    const std::uint8_t* from = strings.data();
    for (std::size_t i = 0; i < rows; ++i) {
      for (const CodeRun& run : spec_.runs) {
        const std::size_t bytes = run.code_bytes();
        if (run.kind == CodeKind::trellis) {
          std::memcpy(codes, from, bytes);
          from += bytes;
        }
        codes += bytes;
      }
    }
  }

  std::vector<TrellisRun> string_;
  std::vector<std::shared_ptr<const ScalarTable>> scalar_;  // by run; null for a trellis
};

}  // namespace

std::vector<double> run_distortions(std::span<const RunPlan> plan) {
  const std::vector<double> of_string = trellis_distortions(string_of(plan));
  std::vector<double> distortions;
  auto next = of_string.begin();
  for (const RunPlan& run : plan) {
    distortions.push_back(run.kind == CodeKind::trellis ? *next++ : lloyd_max_table(run.bits, 0)->distortion);
  }
  return distortions;
}

std::unique_ptr<RowCode> make_mixed_code(std::span<const RunPlan> plan, bool gain, bool unbiased) {
  return std::make_unique<MixedCode>(plan, gain, unbiased);
}

}  // namespace veloxquant
