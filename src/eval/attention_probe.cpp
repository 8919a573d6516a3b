#include "eval/attention_probe.hpp"

namespace veloxquant {
namespace {

double squared_norm(std::span<const float> values) {
  double sum = 0;
  for (const float v : values) sum += static_cast<double>(v) * static_cast<double>(v);
  return sum;
}

double squared_distance(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += difference * difference;
  }
  return sum;
}

}  // namespace

AttentionProbe::AttentionProbe(const ModelConfig& model, const std::vector<MethodRun>& runs)
    : model_(model),
      errors_(runs.size(), std::vector<double>(static_cast<std::size_t>(model.layers))),
      energy_(static_cast<std::size_t>(model.layers)) {
  for (const MethodRun& run : runs) caches_.push_back(run.make_caches());
}

void AttentionProbe::operator()(int layer, const LayerActivations& activations) {
  const auto index = static_cast<std::size_t>(layer);
  if (first_piece_.size() == index) {
    first_piece_.push_back({activations.keys.copy(), activations.values.copy()});
  }
  const AttentionMask mask{.causal = true, .window = model_.windows[index]};
  const Tensor exact = activations.attention.contiguous();
  energy_[index] += squared_norm(exact.span<float>());
  for (std::size_t run = 0; run < caches_.size(); ++run) {
    PackedKVCache& cache = *caches_[run][index];
    cache.append(activations.keys, activations.values);
    const Tensor measured = cache.attend(activations.queries, 0, mask).contiguous();
    errors_[run][index] += squared_distance(measured.span<float>(), exact.span<float>());
  }
}

std::vector<double> AttentionProbe::error(std::size_t run) const {
  std::vector<double> result = errors_[run];
  for (std::size_t layer = 0; layer < result.size(); ++layer) {
    if (energy_[layer] > 0) result[layer] /= energy_[layer];
  }
  return result;
}

}  // namespace veloxquant
