#include "framed_artifacts.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <vector>
#include <veloxquant/transform/rotation.hpp>

#include "calibration/spectral_artifact.hpp"

namespace veloxquant::bench {
namespace {

struct Width {
  int bits, eighths;  // of the coordinates
};
constexpr std::array kPlan = {Width{4, 1}, Width{3, 2}, Width{2, 3}, Width{0, 2}};

double budget(const LayerShape& shape) { return 2 + static_cast<double>(kGainBits) / shape.head_dim; }

// A bit is worth three quarters of what is left, so spectra in steps of four get the widths of the plan.
std::vector<float> spectrum(int head_dim) {
  std::vector<float> lambda;
  for (const Width& width : kPlan)
    lambda.insert(lambda.end(), static_cast<std::size_t>(head_dim * width.eighths / 8),
                  std::exp2(2.0f * static_cast<float>(width.bits)));
  return lambda;
}

}  // namespace

std::shared_ptr<const ArtifactStore> framed_artifacts(const LayerShape& shape, const RopeConfig& rope,
                                                      std::int64_t frame, RunCode code) {
  const auto dim = static_cast<std::size_t>(shape.head_dim), heads = static_cast<std::size_t>(shape.kv_heads);
  auto store = std::make_shared<ArtifactStore>();
  write_settings({.model = "noise",
                  .layers = 1,
                  .kv_heads = shape.kv_heads,
                  .head_dim = shape.head_dim,
                  .frame = frame,
                  .code = code,
                  .target_bits = budget(shape),
                  .rope = to_string(rope)},
                 *store);
  const std::vector<float> lambda = spectrum(shape.head_dim);
  for (const Role role : {Role::keys, Role::values}) {
    std::vector<float> lambdas, forward, inverse;
    for (std::size_t h = 0; h < heads; ++h) {
      const HaarRotation rotation(shape.head_dim, 2 * h + (role == Role::keys ? 0 : 1));
      lambdas.insert(lambdas.end(), lambda.begin(), lambda.end());
      // Noise has a variance of 1 in every direction; the metric makes lambda of it.
      for (std::size_t c = 0; c < dim; ++c) {
        for (std::size_t i = 0; i < dim; ++i) {
          const float entry = rotation.at(static_cast<int>(c), static_cast<int>(i)),
                      root = std::sqrt(lambda[c]);
          forward.push_back(root * entry);
          inverse.push_back(entry / root);
        }
      }
    }
    const Shape rows = {shape.kv_heads, shape.head_dim},
                matrices = {shape.kv_heads, shape.head_dim, shape.head_dim};
    const auto put = [&](const char* what, Tensor tensor) {
      store->put(spectral_tensor(0, role, what), std::move(tensor));
    };
    put("mean", noise(rows, role == Role::keys ? 3 : 4));
    put("lambda", Tensor::copy_of<float>(lambdas, rows));
    put("basis", Tensor::copy_of<float>(forward, matrices));
    put("inverse", Tensor::copy_of<float>(inverse, matrices));
    put("weight", Tensor::copy_of<float>(std::vector<float>(heads, 1.0f), {shape.kv_heads}));
  }
  return store;
}

}  // namespace veloxquant::bench
