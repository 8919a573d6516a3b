#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/precompute.hpp>

#include "calibration/model_groups.hpp"
#include "eval/calibration_run.hpp"
#include "eval/pass_sizes.hpp"

namespace veloxquant {
namespace {

// Sums of the cached vectors of every group.
class ModelMeans {
 public:
  ModelMeans(const ModelGroups& groups, std::int64_t sinks)
      : groups_(groups),
        sinks_(sinks),
        sums_(groups.count() * static_cast<std::size_t>(groups.head_dim)),
        counts_(static_cast<std::size_t>(groups.layers)) {}

  void add(std::size_t /*window*/, int layer, const HeadActivations& a) {
    add_rows(a.keys, layer, Role::keys);
    add_rows(a.values, layer, Role::values);
    counts_[static_cast<std::size_t>(layer)] +=
        static_cast<double>(a.keys.dim(2) - std::min(sinks_, a.keys.dim(2)));
  }
  void merge(const ModelMeans& other) {
    for (std::size_t i = 0; i < sums_.size(); ++i) sums_[i] += other.sums_[i];
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  }
  void save(StateWriter& out) const {
    out.put_all(counts_);
    out.put_all(sums_);
  }
  void restore(StateReader& in) {
    in.fill(counts_);
    in.fill(sums_);
  }

  double count(int layer) const { return counts_[static_cast<std::size_t>(layer)]; }
  Tensor mean(int layer, Role role) const {
    const Tensor mean = Tensor::empty({groups_.kv_heads, groups_.head_dim}, DType::f32);
    const double* sum = sums_.data() + first_of(layer, role);
    for (std::int64_t c = 0; c < mean.numel(); ++c)
      mean.data<float>()[c] = static_cast<float>(sum[c] / count(layer));
    return mean;
  }

 private:
  std::size_t first_of(int layer, Role role) const {
    return groups_.index(layer, role, 0) * static_cast<std::size_t>(groups_.head_dim);
  }
  // x is [1, heads, tokens, dim].
  void add_rows(const Tensor& x, int layer, Role role) {
    const Tensor rows = x.contiguous();
    const std::int64_t tokens = rows.dim(2), dim = rows.dim(3), first = std::min(sinks_, tokens);
    double* sum = sums_.data() + first_of(layer, role);
    for (std::int64_t head = 0; head < rows.dim(1); ++head, sum += dim) {
      const float* row = rows.data<const float>() + (head * tokens + first) * dim;
      for (std::int64_t i = 0; i < (tokens - first) * dim; ++i) sum[i % dim] += static_cast<double>(row[i]);
    }
  }

  ModelGroups groups_;
  std::int64_t sinks_;
  std::vector<double> sums_, counts_;  // [groups, head_dim]; by layer
};

ArtifactStore means_of(const CalibrationSource& source, const CalibrationRequest& request) {
  const ModelConfig& config = source.model.config;
  const ModelGroups groups{source.name, config.layers, config.kv_heads, config.head_dim};
  ModelMeans means(groups, request.sinks);
  CalibrationRun run(source, request, {.options = "mean", .steps = 0});
  run.gather("means", means);
  ArtifactStore store;
  if (!run.leads()) return store;
  write_groups(groups, kMeanMethod, kMeanSchema, store);
  run.write_extent(store);
  for (int layer = 0; layer < groups.layers; ++layer) {
    if (means.count(layer) == 0) {
      throw ConfigError("precompute",
                        fmt::format("no tokens are left of the text: windows of {} have {} sinks",
                                    source.tokens, request.sinks));
    }
    for (const Role role : {Role::keys, Role::values})
      store.put(artifact_tensor(layer, role, "mean"), means.mean(layer, role));
  }
  return store;
}

CalibrationNeeds needs(const PassSizes& sizes) {
  const double elements = sizes.groups * sizes.dim;
  return {.passes = sizes.passes(0),
          .memory_bytes = static_cast<std::uint64_t>(sizes.pass_bytes + elements * sizeof(double)),
          .artifact_bytes = static_cast<std::uint64_t>(elements * sizeof(float))};
}

}  // namespace

CalibrationNeeds means_needs(const ModelConfig& model, const CalibrationRequest& request) {
  return needs(PassSizes(model, request));
}

CalibrationNeeds means_needs(const ActivationFile& activations) {
  return without_passes(needs(PassSizes(activations)));
}

ArtifactStore precompute_means(Decoder& decoder, const CalibrationRequest& request) {
  return means_of(source_of(decoder, request), request);
}

ArtifactStore precompute_means(const ActivationFile& activations, const CalibrationRequest& request,
                               const std::shared_ptr<ThreadPool>& pool) {
  return means_of(source_of(activations, pool), request);
}

}  // namespace veloxquant
