#include "eval/pass_sizes.hpp"

#include <algorithm>

namespace veloxquant {

PassSizes::PassSizes(const ModelConfig& model, std::size_t window_count, std::int64_t window_tokens)
    : windows(static_cast<double>(window_count)),
      tokens(static_cast<double>(window_tokens)),
      layers(model.layers),
      heads(model.heads),
      groups(2.0 * model.layers * model.kv_heads),
      dim(model.head_dim),
      pass_bytes(tokens * (groups * dim + 8.0 * static_cast<double>(model.hidden) + 4 * heads * dim) *
                 sizeof(float)),
      probe_bytes(layers * tokens * static_cast<double>(model.hidden) * sizeof(float)) {}

double PassSizes::passes(std::size_t probe_windows) const {
  // A probe of layer l, counted from 0, runs layers - l of them: (layers + 1) / 2 on average.
  return windows +
         std::min(windows, static_cast<double>(probe_windows)) * (1 + groups / layers * (layers + 1) / 2);
}

}  // namespace veloxquant
