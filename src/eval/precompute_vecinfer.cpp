#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/precompute.hpp>
#include <veloxquant/transform/hadamard.hpp>

#include "calibration/product_training.hpp"
#include "calibration/reservoir.hpp"
#include "calibration/vecinfer_artifact.hpp"
#include "codebook/vector_scale.hpp"
#include "eval/calibration_run.hpp"
#include "eval/pass_sizes.hpp"
#include "transform/smoothed.hpp"

namespace veloxquant {
namespace {

constexpr std::size_t kRows = 8192;  // of a group that codebooks are trained on, at most
constexpr std::uint64_t kLongestWindow = std::uint64_t{1} << 24;  // tokens, by which rows are numbered

std::size_t as_size(std::int64_t n) { return static_cast<std::size_t>(n); }

void add_squares(const float* rows, std::size_t count, std::vector<double>& sums) {
  const std::size_t dims = sums.size();
  for (std::size_t i = 0; i < count * dims; ++i)
    sums[i % dims] += static_cast<double>(rows[i]) * static_cast<double>(rows[i]);
}

// What is kept of the keys or the values of one KV head.
struct GroupSamples {
  RowReservoir rows;
  std::vector<double> query_squares;  // by channel, summed over the queries that meet these keys
};

// What is kept of a model's windows.
class ModelSamples {
 public:
  ModelSamples(const ModelGroups& groups, std::int64_t sinks, std::uint64_t seed)
      : groups_(groups), sinks_(sinks) {
    for (std::size_t g = 0; g < groups.count(); ++g) {
      samples_.push_back(
          {RowReservoir(groups.head_dim, kRows, seed + g), std::vector<double>(as_size(groups.head_dim))});
    }
  }

  void add(std::size_t window, int layer, const HeadActivations& a) {
    const std::int64_t tokens = a.keys.dim(2), dim = a.keys.dim(3), heads = a.queries.dim(1),
                       first = std::min(sinks_, tokens);
    const std::size_t count = as_size(tokens - first);
    const auto rows = [&](const Tensor& x, std::int64_t head) {
      return x.data<const float>() + (head * tokens + first) * dim;
    };
    const Tensor keys = a.keys.contiguous(), values = a.values.contiguous(), queries = a.queries.contiguous();
    const std::uint64_t number = window * kLongestWindow;
    for (int h = 0; h < groups_.kv_heads; ++h) {
      at(layer, Role::keys, h).rows.add(rows(keys, h), count, number);
      at(layer, Role::values, h).rows.add(rows(values, h), count, number);
    }
    for (std::int64_t h = 0; h < heads; ++h) {
      add_squares(rows(queries, h), count,
                  at(layer, Role::keys, static_cast<int>(h * groups_.kv_heads / heads)).query_squares);
    }
    queries_ += static_cast<double>(count) * static_cast<double>(heads / groups_.kv_heads) / groups_.layers;
  }

  void merge(const ModelSamples& other) {
    for (std::size_t g = 0; g < samples_.size(); ++g) {
      samples_[g].rows.merge(other.samples_[g].rows);
      for (std::size_t c = 0; c < samples_[g].query_squares.size(); ++c)
        samples_[g].query_squares[c] += other.samples_[g].query_squares[c];
    }
    queries_ += other.queries_;
  }

  void save(StateWriter& out) const {
    out.put(queries_);
    for (const GroupSamples& group : samples_) {
      group.rows.save(out);
      out.put_all(group.query_squares);
    }
  }
  void restore(StateReader& in) {
    queries_ = in.get();
    for (GroupSamples& group : samples_) {
      group.rows.restore(in);
      in.fill(group.query_squares);
    }
  }

  const GroupSamples& operator[](std::size_t group) const { return samples_[group]; }
  double queries() const { return queries_; }  // that meet a key

 private:
  GroupSamples& at(int layer, Role role, int head) { return samples_[groups_.index(layer, role, head)]; }

  ModelGroups groups_;
  std::int64_t sinks_;
  std::vector<GroupSamples> samples_;
  double queries_ = 0;
};

// What is made of the samples of one group.
struct GroupFit {
  std::vector<float> mean, smooth;
  std::vector<ProductCodebook> codebooks;  // as kProductShapes
};

class VecInferPrecompute {
 public:
  VecInferPrecompute(CalibrationSource source, const CalibrationRequest& request, Smoothing smoothing)
      : source_(std::move(source)),
        request_(request),
        smoothing_(smoothing),
        settings_{{source_.name, source_.model.config.layers, source_.model.config.kv_heads,
                   source_.model.config.head_dim},
                  request.seed},
        rotation_(std::make_shared<const HadamardTransform>(groups().head_dim, request.seed)),
        fits_(groups().count()),
        run_(source_, request, {.options = {}, .steps = as_size(groups().layers)}) {}

  ArtifactStore run() {
    ModelSamples samples(groups(), request_.sinks, request_.seed);
    run_.gather("samples", samples);
    if (!run_.leads()) return {};
    train(samples);
    return store();
  }

 private:
  const ModelGroups& groups() const { return settings_.groups; }

  void train(const ModelSamples& samples) {
    for (int layer = 0; layer < groups().layers; ++layer) {
      run_.step("codebooks", fmt::format("layer {} of {}", layer + 1, groups().layers));
      const std::size_t first = groups().index(layer, Role::keys, 0);
      source_.model.pool->parallel_for(as_size(2 * groups().kv_heads), [&](std::size_t i, int) {
        fits_[first + i] = fit(samples[first + i], groups().role_of(first + i), samples.queries());
      });
    }
  }

  GroupFit fit(const GroupSamples& group, Role role, double queries) const {
    const std::size_t dims = as_size(groups().head_dim), count = group.rows.rows();
    GroupFit fit;
    std::vector<float> rows = group.rows.sample(), coded(rows.size());
    fit.mean = mean_of(rows, dims);
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] -= fit.mean[i % dims];
    if (role == Role::keys) {
      fit.smooth = factors_of(group, rows, queries);
      SmoothedTransform(fit.smooth, rotation_).apply_rows(rows.data(), count, coded.data());
    } else {
      rotation_->apply_rows(rows.data(), count, coded.data());
    }
    std::vector<double> scales(count);
    to_unit_variance(coded.data(), count, groups().head_dim, rows.data(), scales.data());
    for (const ProductShape& shape : kProductShapes) {
      fit.codebooks.push_back(
          train_product(rows, {.bits = shape.index_bits, .dims = shape.dims, .seed = settings_.seed}));
    }
    return fit;
  }

  static std::vector<float> mean_of(const std::vector<float>& rows, std::size_t dims) {
    std::vector<double> sums(dims);
    for (std::size_t i = 0; i < rows.size(); ++i) sums[i % dims] += static_cast<double>(rows[i]);
    std::vector<float> mean;
    for (const double sum : sums)
      mean.push_back(static_cast<float>(sum / static_cast<double>(rows.size() / dims)));
    return mean;
  }

  // `rows` are without their mean.
  std::vector<float> factors_of(const GroupSamples& group, const std::vector<float>& rows,
                                double queries) const {
    const std::size_t dims = as_size(groups().head_dim);
    std::vector<double> key_squares(dims);
    add_squares(rows.data(), rows.size() / dims, key_squares);
    std::vector<float> factors;
    for (std::size_t c = 0; c < dims; ++c) {
      const double key = key_squares[c] / static_cast<double>(rows.size() / dims),
                   query = group.query_squares[c] / queries;
      double factor = 1;
      if (smoothing_ == Smoothing::keys) factor = std::sqrt(static_cast<double>(group.rows.largest()[c]));
      if (smoothing_ == Smoothing::balanced) factor = std::sqrt(std::sqrt(key / std::max(query, 1e-30)));
      factors.push_back(std::clamp(static_cast<float>(factor), kLeastFactor, kLargestFactor));
    }
    return factors;
  }

  ArtifactStore store() const {
    ArtifactStore store;
    write_settings(settings_, store);
    store.set_fact("smoothing", to_string(smoothing_));
    run_.write_extent(store);
    const std::int64_t heads = groups().kv_heads, dim = groups().head_dim;
    for (int layer = 0; layer < groups().layers; ++layer) {
      for (const Role role : {Role::keys, Role::values}) {
        const auto put = [&](const std::string& what, const auto& of, Shape shape) {
          std::vector<float> joined;
          for (int h = 0; h < groups().kv_heads; ++h) {
            const std::vector<float>& part = of(fits_[groups().index(layer, role, h)]);
            joined.insert(joined.end(), part.begin(), part.end());
          }
          store.put(artifact_tensor(layer, role, what), Tensor::copy_of<float>(joined, std::move(shape)));
        };
        put("mean", [](const GroupFit& f) -> const auto& { return f.mean; }, {heads, dim});
        if (role == Role::keys) {
          put("smooth", [](const GroupFit& f) -> const auto& { return f.smooth; }, {heads, dim});
        }
        for (std::size_t i = 0; i < kProductShapes.size(); ++i) {
          const ProductShape& shape = kProductShapes[i];
          put(codebook_name(shape),
              [i](const GroupFit& f) -> const auto& { return f.codebooks[i].centroids; },
              {heads, std::int64_t{1} << shape.index_bits, shape.dims});
        }
      }
    }
    return store;
  }

  CalibrationSource source_;
  const CalibrationRequest& request_;
  Smoothing smoothing_;
  VecInferSettings settings_;
  std::shared_ptr<const RowTransform> rotation_;
  std::vector<GroupFit> fits_;
  CalibrationRun run_;
};

void check(const ModelConfig& model) {
  if (model.head_dim % 8 == 0) return;
  throw UnsupportedError(
      "precompute",
      fmt::format("head_dim {} is no multiple of the 8 coordinates of a sub-vector", model.head_dim));
}

CalibrationNeeds needs(const PassSizes& sizes) {
  const double rows = std::min(sizes.windows * sizes.tokens, static_cast<double>(kRows));
  double centroids = 0;
  for (const ProductShape& shape : kProductShapes) centroids += (1 << shape.index_bits) * shape.dims;
  // Rows, and their copies while a layer is trained: coded, scaled, and scattered by centroid.
  const double samples = rows * sizes.dim * sizeof(float);
  return {.passes = sizes.passes(0),
          .memory_bytes = static_cast<std::uint64_t>(
              sizes.pass_bytes + samples * (sizes.groups + 3 * sizes.groups / sizes.layers)),
          .artifact_bytes =
              static_cast<std::uint64_t>(sizes.groups * (centroids + 1.5 * sizes.dim) * sizeof(float))};
}

}  // namespace

CalibrationNeeds vecinfer_needs(const ModelConfig& model, const CalibrationRequest& request) {
  check(model);
  return needs(PassSizes(model, request));
}

CalibrationNeeds vecinfer_needs(const ActivationFile& activations) {
  check(activations.config());
  return without_passes(needs(PassSizes(activations)));
}

ArtifactStore precompute_vecinfer(Decoder& decoder, const CalibrationRequest& request, Smoothing smoothing) {
  check(decoder.config());
  return VecInferPrecompute(source_of(decoder, request), request, smoothing).run();
}

ArtifactStore precompute_vecinfer(const ActivationFile& activations, const CalibrationRequest& request,
                                  Smoothing smoothing, const std::shared_ptr<ThreadPool>& pool) {
  check(activations.config());
  return VecInferPrecompute(source_of(activations, pool), request, smoothing).run();
}

}  // namespace veloxquant
