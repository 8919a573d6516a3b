// Runs of different widths in one vector, over coordinates of variance one.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>
#include <veloxquant/core/error.hpp>

#include "codebook/codebook_tensors.hpp"
#include "codebook/row_code.hpp"
#include "codebook/row_math.hpp"
#include "codebook/scalar_table.hpp"
#include "codebook/trellis.hpp"
#include "codebook/trellis_search.hpp"
#include "pack/bits.hpp"
#include "transform/head_dim.hpp"
#include "transform/random.hpp"

namespace veloxquant {
namespace {

constexpr const char* kOperation = "mixed code";

void require_runs(std::span<const RunPlan> plan) {
  const auto strings = std::count_if(plan.begin(), plan.end(),
                                     [](const RunPlan& run) { return run.kind == CodeKind::trellis; });
  const int unit = trellis_unit(static_cast<std::size_t>(strings));
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

// Factors of the differences in a string's search: the square roots of what an element counts beside 4^bits,
// the largest being nearly one. Small ones are raised, so that all differences keep a meaning in integers.
std::vector<std::int16_t> weights_of(std::span<const RunPlan> plan, std::span<const float> lambda) {
  constexpr double kLeast = 1.0 / 8, kOne = 32767;
  std::vector<double> factors;
  std::size_t c = 0;
  for (const RunPlan& run : plan) {
    if (lambda.size() - c < static_cast<std::size_t>(run.count))
      throw ConfigError(kOperation,
                        fmt::format("{} variances are fewer than the plan has coordinates", lambda.size()));
    for (int t = 0; t < run.count; ++t, ++c) {
      if (run.kind == CodeKind::trellis)
        factors.push_back(std::ldexp(std::sqrt(std::max(0.0, static_cast<double>(lambda[c]))), -run.bits));
    }
  }
  const double largest = factors.empty() ? 0 : *std::max_element(factors.begin(), factors.end());
  std::vector<std::int16_t> weights;
  for (const double factor : factors) {
    const double share = largest > 0 ? std::max(kLeast, factor / largest) : 1;
    weights.push_back(static_cast<std::int16_t>(std::lround(kOne * share)));
  }
  return weights;
}

class MixedCode final : public RowCode {
 public:
  MixedCode(std::span<const RunPlan> plan, bool gain, std::span<const float> lambda) : RowCode(CodeSpec{}) {
    spec_.kind = CodeKind::mixed;
    spec_.bits = 0;
    spec_.vector_scale = gain ? VectorScale::gain : VectorScale::none;
    require_runs(plan);
    string_ = string_of(plan);
    if (!lambda.empty()) weights_ = weights_of(plan, lambda);
    for (const RunPlan& run : plan) {
      std::shared_ptr<const ScalarTable> scalar;
      if (run.kind == CodeKind::scalar) scalar = lloyd_max_table(run.bits, 0);
      spec_.runs.push_back({run.kind, run.bits, run.count,
                            scalar ? scalar->centroids : shared_values(trellis_table(run.bits))});
      spec_.head_dim += run.count;
      scalar_.push_back(std::move(scalar));
    }
  }

  void encode(const float* x, std::uint8_t* codes, std::uint8_t* scales) const override {
    encode_rows(x, 1, codes, scales);
  }

  void encode_rows(const float* x, std::size_t count, std::uint8_t* codes,
                   std::uint8_t* scales) const override {
    constexpr std::size_t kRows = trellis::kTogether;
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

  // Tables are those of all codes of the process.
  std::size_t nbytes() const noexcept override { return sizeof(std::int16_t) * weights_.size(); }

 private:
  bool has_gain() const { return spec_.vector_scale == VectorScale::gain; }

  // Stores the step whose gain is nearest to the rms in the logarithm; returns one over the gain. Squares are
  // compared with the squares of the borders, which lie halfway between two steps: no logarithm, whose last
  // bit could differ between systems.
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
    trellis_encode(string_, weights_.empty() ? nullptr : weights_.data(), side_by_side.data(), rows,
                   strings.data());
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
  std::vector<std::int16_t> weights_;                       // of its elements; none: alike
  std::vector<std::shared_ptr<const ScalarTable>> scalar_;  // by run; null for a trellis
};

}  // namespace

std::vector<double> distortions(std::span<const RunPlan> plan, std::span<const float> lambda) {
  const std::vector<TrellisRun> string = string_of(plan);
  const std::vector<double> of_string = trellis_distortions(string);
  const std::vector<std::int16_t> weights =
      lambda.empty() ? std::vector<std::int16_t>(static_cast<std::size_t>(trellis_length(string)), 1)
                     : weights_of(plan, lambda);
  double square = 0;
  for (const std::int16_t w : weights) square += static_cast<double>(w) * w;
  const double rms = weights.empty() ? 1 : std::sqrt(square / static_cast<double>(weights.size()));
  std::vector<double> result;
  auto run_distortion = of_string.begin();
  auto weight = weights.begin();
  for (const RunPlan& run : plan) {
    const bool trellis = run.kind == CodeKind::trellis;
    const double distortion = trellis ? *run_distortion++ : lloyd_max_table(run.bits, 0)->distortion;
    // Fits to measured moments, good to some per cent.
    const double power = run.bits == 1 ? -1.5 : -1.2;
    for (int t = 0; t < run.count; ++t) {
      const double moved = trellis ? std::pow(*weight++ / rms, power) : 1;
      result.push_back(std::min(1.0, distortion * std::clamp(moved, .4, 2.5)));
    }
  }
  return result;
}

std::vector<CodedMoments> coded_moments(std::span<const RunPlan> plan, std::span<const float> lambda) {
  constexpr std::size_t kVectors = 512;  // known to 2 per cent at 1 bit, to .3 at 4
  const std::vector<TrellisRun> string = string_of(plan);
  const auto n = static_cast<std::size_t>(trellis_length(string));
  std::vector<CodedMoments> of_string(n);
  if (n > 0) {
    const std::vector<std::int16_t> weights =
        lambda.empty() ? std::vector<std::int16_t>() : weights_of(plan, lambda);
    std::vector<float> z(kVectors * n), y(n);
    std::vector<std::uint8_t> codes(kVectors * trellis_code_bytes(string));
    NormalSource normal(1);
    for (float& x : z) x = static_cast<float>(normal.next());
    trellis_encode(string, weights.empty() ? nullptr : weights.data(), z.data(), kVectors, codes.data());
    std::vector<double> squares(n);
    for (std::size_t v = 0; v < kVectors; ++v) {
      trellis_decode(string, codes.data() + v * trellis_code_bytes(string), y.data());
      for (std::size_t t = 0; t < n; ++t) {
        const double x = static_cast<double>(z[v * n + t]), value = static_cast<double>(y[t]);
        of_string[t].along += x * value;
        of_string[t].square += value * value;
        squares[t] += x * x;
      }
    }
    for (std::size_t t = 0; t < n; ++t) {
      of_string[t].along /= squares[t];
      of_string[t].square /= squares[t];
    }
  }
  std::vector<CodedMoments> moments;
  auto next = of_string.begin();
  for (const RunPlan& run : plan) {
    // The centroids of a Lloyd-Max code are means.
    const double kept = run.kind == CodeKind::scalar ? 1 - lloyd_max_table(run.bits, 0)->distortion : 0;
    for (int t = 0; t < run.count; ++t)
      moments.push_back(run.kind == CodeKind::trellis ? *next++ : CodedMoments{kept, kept});
  }
  return moments;
}

std::unique_ptr<RowCode> make_mixed_code(std::span<const RunPlan> plan, bool gain,
                                         std::span<const float> lambda) {
  return std::make_unique<MixedCode>(plan, gain, lambda);
}

}  // namespace veloxquant
