#include <fmt/format.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/precompute.hpp>

#include "calibration/model_groups.hpp"
#include "eval/passes.hpp"

namespace veloxquant {
namespace {

// Adds the rows from token `first` on of the heads of x [1, heads, tokens, dim] to sums [heads, dim].
void add_rows(const Tensor& x, std::int64_t first, std::vector<double>& sums) {
  const Tensor rows = x.contiguous();
  const std::int64_t heads = rows.dim(1), tokens = rows.dim(2), dim = rows.dim(3);
  for (std::int64_t head = 0; head < heads; ++head) {
    const float* row = rows.data<const float>() + (head * tokens + first) * dim;
    double* sum = sums.data() + head * dim;
    for (std::int64_t i = 0; i < (tokens - first) * dim; ++i) sum[i % dim] += static_cast<double>(row[i]);
  }
}

}  // namespace

ArtifactStore precompute_means(Decoder& decoder, const CalibrationRequest& request) {
  require_calibration(request);
  const ModelConfig& config = decoder.config();
  const ModelGroups groups{decoder.fingerprint(), config.layers, config.kv_heads, config.head_dim};
  const std::vector<double> zeros(static_cast<std::size_t>(config.kv_heads * config.head_dim));
  std::vector<std::vector<double>> keys(static_cast<std::size_t>(config.layers), zeros), values = keys;
  std::int64_t tokens = 0;
  for (std::size_t i = 0; i < request.windows.size(); ++i) {
    if (request.progress) {
      request.progress("means", fmt::format("window {} of {}", i + 1, request.windows.size()), i,
                       request.windows.size());
    }
    const std::int64_t length = std::ssize(request.windows[i]), first = std::min(request.sinks, length);
    observe_window(decoder, request.windows[i], [&](int layer, const LayerActivations& a) {
      add_rows(a.keys, first, keys[static_cast<std::size_t>(layer)]);
      add_rows(a.values, first, values[static_cast<std::size_t>(layer)]);
    });
    tokens += length - first;
  }
  if (tokens == 0) {
    throw ConfigError("precompute", fmt::format("no tokens are left of the text: all are among the {} sinks "
                                                "of their windows",
                                                request.sinks));
  }

  ArtifactStore store;
  write_groups(groups, kMeanMethod, kMeanSchema, store);
  store.set_fact("sinks", std::to_string(request.sinks));
  store.set_fact("windows", std::to_string(request.windows.size()));
  store.set_fact("sequence_length", std::to_string(request.windows.front().size()));
  for (int layer = 0; layer < config.layers; ++layer) {
    for (const Role role : {Role::keys, Role::values}) {
      const auto& sums = (role == Role::keys ? keys : values)[static_cast<std::size_t>(layer)];
      const Tensor mean = Tensor::empty({config.kv_heads, config.head_dim}, DType::f32);
      for (std::size_t c = 0; c < sums.size(); ++c)
        mean.data<float>()[c] = static_cast<float>(sums[c] / static_cast<double>(tokens));
      store.put(artifact_tensor(layer, role, "mean"), mean);
    }
  }
  return store;
}

}  // namespace veloxquant
