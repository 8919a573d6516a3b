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
#include "transform/smoothed.hpp"

namespace veloxquant {
namespace {

constexpr std::size_t kRows = 8192;  // of a group that codebooks are trained on, at most
constexpr float kLargestFactor = 1e4f;

std::size_t as_size(std::int64_t n) { return static_cast<std::size_t>(n); }

// The keys or the values of one KV head: what is kept of them, and what is made of it.
struct Group {
  RowReservoir rows;
  std::vector<double> query_squares;  // by channel, summed over the queries that meet these keys
  std::vector<float> mean, smooth;
  std::vector<ProductCodebook> codebooks;  // as kProductShapes
};

void add_squares(const float* rows, std::size_t count, std::vector<double>& sums) {
  const std::size_t dims = sums.size();
  for (std::size_t i = 0; i < count * dims; ++i)
    sums[i % dims] += static_cast<double>(rows[i]) * static_cast<double>(rows[i]);
}

class VecInferPrecompute {
 public:
  VecInferPrecompute(Decoder& decoder, const CalibrationRequest& request, Smoothing smoothing)
      : decoder_(decoder),
        request_(request),
        smoothing_(smoothing),
        rotation_(std::make_shared<const HadamardTransform>(decoder.config().head_dim, request.seed)) {
    const ModelConfig& config = decoder.config();
    settings_ = {decoder.fingerprint(), config.layers, config.kv_heads, config.head_dim, request.seed};
    const std::size_t groups = as_size(config.layers) * 2 * as_size(config.kv_heads);
    for (std::size_t g = 0; g < groups; ++g) {
      groups_.push_back({RowReservoir(config.head_dim, kRows, request.seed + g),
                         std::vector<double>(as_size(config.head_dim)),
                         {},
                         {},
                         {}});
    }
  }

  ArtifactStore run() {
    gather();
    train();
    return store();
  }

 private:
  void step(const std::string& stage, const std::string& item) {
    if (request_.progress) {
      request_.progress(stage, item, done_, request_.windows.size() + as_size(settings_.layers));
    }
    ++done_;
  }
  Group& group(int layer, Role role, std::int64_t head) {
    return groups_[as_size((layer * 2 + (role == Role::values ? 1 : 0)) * settings_.kv_heads + head)];
  }

  void gather() {
    for (std::size_t i = 0; i < request_.windows.size(); ++i) {
      step("samples", fmt::format("window {} of {}", i + 1, request_.windows.size()));
      KVCacheOptions options = decoder_.cache_options();
      options.keys = options.values = MethodSpec::parse("fp32");
      const auto caches = make_caches(std::make_shared<const KVCacheConfig>(options), {}, decoder_.pool());
      decoder_.forward_hidden(request_.windows[i], caches,
                              {.first_row = kNoRows,
                               .observer = [this](int layer, const LayerActivations& a) { add(layer, a); }});
    }
  }

  void add(int layer, const LayerActivations& a) {
    const std::int64_t tokens = a.keys.dim(2), dim = a.keys.dim(3), heads = a.queries.dim(1),
                       first = std::min(request_.sinks, tokens);
    const std::size_t count = as_size(tokens - first);
    const auto rows = [&](const Tensor& x, std::int64_t head) {
      return x.data<const float>() + (head * tokens + first) * dim;
    };
    const Tensor keys = a.keys.contiguous(), values = a.values.contiguous(), queries = a.queries.contiguous();
    for (std::int64_t h = 0; h < settings_.kv_heads; ++h) {
      group(layer, Role::keys, h).rows.add(rows(keys, h), count);
      group(layer, Role::values, h).rows.add(rows(values, h), count);
    }
    for (std::int64_t h = 0; h < heads; ++h) {
      add_squares(rows(queries, h), count,
                  group(layer, Role::keys, h * settings_.kv_heads / heads).query_squares);
    }
    queries_ +=
        static_cast<double>(count) * static_cast<double>(heads / settings_.kv_heads) / settings_.layers;
  }

  void train() {
    for (int layer = 0; layer < settings_.layers; ++layer) {
      step("codebooks", fmt::format("layer {} of {}", layer + 1, settings_.layers));
      const std::size_t heads = as_size(settings_.kv_heads);
      decoder_.pool()->parallel_for(2 * heads, [&](std::size_t i, int) {
        const Role role = i < heads ? Role::keys : Role::values;
        train(group(layer, role, static_cast<std::int64_t>(i % heads)), role);
      });
    }
  }

  void train(Group& group, Role role) const {
    const std::size_t dims = as_size(settings_.head_dim), count = group.rows.rows();
    std::vector<float> rows(group.rows.data().begin(), group.rows.data().end()), coded(rows.size());
    group.mean = mean_of(rows, dims);
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] -= group.mean[i % dims];
    if (role == Role::keys) {
      group.smooth = factors_of(group, rows);
      SmoothedTransform(group.smooth, rotation_).apply_rows(rows.data(), count, coded.data());
    } else {
      rotation_->apply_rows(rows.data(), count, coded.data());
    }
    std::vector<double> scales(count);
    to_unit_variance(coded.data(), count, settings_.head_dim, rows.data(), scales.data());
    for (const ProductShape& shape : kProductShapes) {
      group.codebooks.push_back(
          train_product(rows, {.bits = shape.index_bits, .dims = shape.dims, .seed = settings_.seed}));
    }
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
  std::vector<float> factors_of(const Group& group, const std::vector<float>& rows) const {
    const std::size_t dims = as_size(settings_.head_dim);
    std::vector<double> key_squares(dims);
    add_squares(rows.data(), rows.size() / dims, key_squares);
    std::vector<float> factors;
    for (std::size_t c = 0; c < dims; ++c) {
      const double key = key_squares[c] / static_cast<double>(rows.size() / dims),
                   query = group.query_squares[c] / queries_;
      double factor = 1;
      if (smoothing_ == Smoothing::keys) factor = std::sqrt(static_cast<double>(group.rows.largest()[c]));
      if (smoothing_ == Smoothing::balanced) factor = std::sqrt(std::sqrt(key / std::max(query, 1e-30)));
      factors.push_back(std::clamp(static_cast<float>(factor), kLeastFactor, kLargestFactor));
    }
    return factors;
  }

  ArtifactStore store() {
    ArtifactStore store;
    write_settings(settings_, store);
    store.set_fact("smoothing", to_string(smoothing_));
    store.set_fact("sinks", std::to_string(request_.sinks));
    store.set_fact("windows", std::to_string(request_.windows.size()));
    store.set_fact("sequence_length", std::to_string(request_.windows.front().size()));
    const std::int64_t heads = settings_.kv_heads, dim = settings_.head_dim;
    for (int layer = 0; layer < settings_.layers; ++layer) {
      for (const Role role : {Role::keys, Role::values}) {
        const auto put = [&](const std::string& what, const auto& of, Shape shape) {
          std::vector<float> joined;
          for (std::int64_t h = 0; h < heads; ++h) {
            const std::vector<float>& part = of(group(layer, role, h));
            joined.insert(joined.end(), part.begin(), part.end());
          }
          store.put(vecinfer_tensor(layer, role, what), Tensor::copy_of<float>(joined, std::move(shape)));
        };
        put("mean", [](const Group& g) -> const auto& { return g.mean; }, {heads, dim});
        if (role == Role::keys) {
          put("smooth", [](const Group& g) -> const auto& { return g.smooth; }, {heads, dim});
        }
        for (std::size_t i = 0; i < kProductShapes.size(); ++i) {
          const ProductShape& shape = kProductShapes[i];
          put(codebook_name(shape), [i](const Group& g) -> const auto& { return g.codebooks[i].centroids; },
              {heads, std::int64_t{1} << shape.index_bits, shape.dims});
        }
      }
    }
    return store;
  }

  Decoder& decoder_;
  const CalibrationRequest& request_;
  Smoothing smoothing_;
  std::shared_ptr<const RowTransform> rotation_;
  VecInferSettings settings_;
  std::vector<Group> groups_;
  double queries_ = 0;  // that meet a key
  std::size_t done_ = 0;
};

}  // namespace

ArtifactStore precompute_vecinfer(Decoder& decoder, const CalibrationRequest& request, Smoothing smoothing) {
  require_calibration(request);
  if (decoder.config().head_dim % 8 != 0) {
    throw UnsupportedError("precompute",
                           fmt::format("head_dim {} is no multiple of the 8 coordinates of a sub-vector",
                                       decoder.config().head_dim));
  }
  return VecInferPrecompute(decoder, request, smoothing).run();
}

}  // namespace veloxquant
