#include "eval/model_statistics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <veloxquant/core/error.hpp>

#include "calibration/key_metric.hpp"
#include "core/counted.hpp"
#include "linalg/gram.hpp"
#include "transform/random.hpp"

namespace veloxquant {
namespace {

std::size_t as_size(std::int64_t n) { return static_cast<std::size_t>(n); }

const float* head_rows(const Tensor& x, std::int64_t head) {
  return x.data<const float>() + head * x.dim(2) * x.dim(3);
}

// Positions spread evenly over [first, tokens), the whole comb at a random offset.
std::vector<std::int64_t> comb(std::int64_t first, std::int64_t tokens, std::uint64_t seed) {
  const std::int64_t count = std::min(kSampledKeys, tokens - first);
  SplitMix64 random(seed);
  const double stride = static_cast<double>(tokens - first) / static_cast<double>(count);
  const double offset = (random.symmetric() + 1) / 2;
  std::vector<std::int64_t> positions;
  for (std::int64_t i = 0; i < count; ++i) {
    positions.push_back(first + static_cast<std::int64_t>((static_cast<double>(i) + offset) * stride));
  }
  return positions;
}

// W_O,h^T W_O,h of a query head: how much of an error of its output reaches the hidden states; the identity when W_O is
// not known.
std::vector<double> output_gram(const Tensor& projection, std::int64_t head, std::int64_t head_dim) {
  std::vector<double> gram(as_size(head_dim * head_dim));
  if (!projection.defined()) {
    for (std::int64_t c = 0; c < head_dim; ++c) gram[as_size(c * (head_dim + 1))] = 1;
    return gram;
  }
  std::vector<float> rows;
  for (std::int64_t r = 0; r < projection.dim(0); ++r) {
    const float* from = projection.data<const float>() + r * projection.dim(1) + head * head_dim;
    rows.insert(rows.end(), from, from + head_dim);
  }
  add_gram(rows.data(), as_size(projection.dim(0)), static_cast<int>(head_dim), gram.data());
  return gram;
}

}  // namespace

ModelStatistics::ModelStatistics(ModelParts model, KeyMetric metric, std::int64_t sinks, std::uint64_t seed)
    : model_(std::move(model)),
      metric_(metric),
      sinks_(sinks),
      seed_(seed),
      turn_(model_.config.rope, model_.config.head_dim) {
  const int dim = model_.config.head_dim;
  const std::vector<double> zeros(as_size(dim) * as_size(dim));
  const HeadStatistics head{Moments(dim), Moments(dim), zeros, zeros};
  layers_.assign(as_size(model_.config.layers), {std::vector(as_size(model_.config.kv_heads), head), 0});
}

void ModelStatistics::add(std::size_t window, int layer, const HeadActivations& activations) {
  if (activations.keys.dim(2) <= sinks_) {
    throw ConfigError("precompute", fmt::format("windows of {}, of which {} are left out; lengthen them",
                                                counted(activations.keys.dim(2), "token"), sinks_));
  }
  layers_[as_size(layer)].hidden_square += activations.hidden_square;
  add_moments(layer, activations);
  const std::uint64_t piece = window * layers_.size() + as_size(layer) + 1;
  add_metric(layer, activations, seed_ ^ (piece * 0x9e3779b97f4a7c15u));
}

void ModelStatistics::add_moments(int layer, const HeadActivations& a) {
  std::vector<HeadStatistics>& heads = layers_[as_size(layer)].heads;
  const std::int64_t tokens = a.keys.dim(2), dim = a.keys.dim(3);
  model_.pool->parallel_for(heads.size(), [&](std::size_t h, int) {
    const float* keys = head_rows(a.keys, static_cast<std::int64_t>(h));
    std::vector<float> before(as_size((tokens - sinks_) * dim));
    for (std::int64_t token = sinks_; token < tokens; ++token) {
      turn_.back(turn_.angles(token), keys + token * dim, before.data() + (token - sinks_) * dim);
    }
    heads[h].keys.add(before.data(), as_size(tokens - sinks_));
    heads[h].values.add(head_rows(a.values, static_cast<std::int64_t>(h)) + sinks_ * dim,
                        as_size(tokens - sinks_));
  });
}

// p_ij of all queries i and the sampled keys j, [heads, tokens, sampled]: attention over values that are 1 in
// one coordinate for one sampled key, and 0 for all others.
std::vector<float> ModelStatistics::sampled_weights(int layer, const HeadActivations& a,
                                                    const std::vector<std::int64_t>& positions) const {
  const std::int64_t heads = a.queries.dim(1), tokens = a.keys.dim(2), dim = a.keys.dim(3),
                     kv_heads = a.keys.dim(1);
  const std::int64_t sampled = std::ssize(positions);
  KVCacheOptions options = cache_options(model_.config);
  options.layers = 1;
  options.keys = options.values = MethodSpec::parse("fp32");
  const auto config = std::make_shared<const KVCacheConfig>(options);
  const AttentionMask mask{.causal = true, .window = model_.config.windows[as_size(layer)]};
  std::vector<float> weights(as_size(heads * tokens * sampled));
  for (std::int64_t first = 0; first < sampled; first += dim) {
    const std::int64_t count = std::min(dim, sampled - first);
    const Tensor marks = Tensor::zeros({1, kv_heads, tokens, dim}, DType::f32);
    for (std::int64_t h = 0; h < kv_heads; ++h) {
      for (std::int64_t s = 0; s < count; ++s) {
        marks.data<float>()[(h * tokens + positions[as_size(first + s)]) * dim + s] = 1;
      }
    }
    const auto caches = make_caches(config, {}, model_.pool);
    caches[0]->append(a.keys, marks);
    const Tensor seen = caches[0]->attend(a.queries, 0, mask).contiguous();
    for (std::int64_t row = 0; row < heads * tokens; ++row) {
      std::copy_n(seen.data<const float>() + row * dim, count, weights.data() + row * sampled + first);
    }
  }
  return weights;
}

void ModelStatistics::add_metric(int layer, const HeadActivations& a, std::uint64_t seed) {
  const std::int64_t heads = a.queries.dim(1), tokens = a.keys.dim(2), dim = a.keys.dim(3);
  const auto group = heads / a.keys.dim(1);
  const auto positions = comb(sinks_, tokens, seed);
  const std::vector<float> weights = sampled_weights(layer, a, positions);
  const Tensor projection = model_.output_projection ? model_.output_projection(layer) : Tensor();
  const Tensor outputs = a.attention.contiguous();
  std::vector<std::vector<double>> metrics(as_size(heads), std::vector<double>(as_size(dim * dim)));
  std::vector<std::vector<double>> grams(as_size(heads));
  std::vector<double> squares(as_size(heads));
  const double scale = 1 / static_cast<double>(positions.size());
  model_.pool->parallel_for(as_size(heads), [&](std::size_t h, int) {
    const auto head = static_cast<std::int64_t>(h);
    grams[h] = output_gram(projection, head, dim);
    const std::vector<float> gram(grams[h].begin(), grams[h].end());
    squares[h] = add_key_metric({.head_dim = static_cast<int>(dim),
                                 .tokens = tokens,
                                 .queries = head_rows(a.queries, head),
                                 .outputs = head_rows(outputs, head),
                                 .values = head_rows(a.values, head / group),
                                 .output_gram = gram,
                                 .sampled = positions,
                                 .probabilities = weights.data() + head * tokens * std::ssize(positions),
                                 .all_alike = metric_ == KeyMetric::query},
                                turn_, scale, seed + h, metrics[h]);
  });
  // Errors of values reach the output through p_ij as well; its mean square makes keys and values comparable.
  double mean_square = 0;
  for (const double square : squares) mean_square += square / static_cast<double>(heads);
  for (std::int64_t h = 0; h < heads; ++h) {
    HeadStatistics& statistics = layers_[as_size(layer)].heads[as_size(h / group)];
    for (std::size_t i = 0; i < statistics.key_metric.size(); ++i) {
      if (metric_ != KeyMetric::identity) statistics.key_metric[i] += metrics[as_size(h)][i];
      statistics.value_metric[i] += mean_square * grams[as_size(h)][i];
    }
  }
  if (metric_ != KeyMetric::identity) return;
  for (HeadStatistics& statistics : layers_[as_size(layer)].heads) {
    for (std::int64_t c = 0; c < dim; ++c) statistics.key_metric[as_size(c * (dim + 1))] += 1;
  }
}

void ModelStatistics::merge(const ModelStatistics& other) {
  const auto add = [](std::vector<double>& to, const std::vector<double>& from) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
  };
  for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
    layers_[layer].hidden_square += other.layers_[layer].hidden_square;
    for (std::size_t h = 0; h < layers_[layer].heads.size(); ++h) {
      HeadStatistics& to = layers_[layer].heads[h];
      const HeadStatistics& from = other.layers_[layer].heads[h];
      to.keys.merge(from.keys);
      to.values.merge(from.values);
      add(to.key_metric, from.key_metric);
      add(to.value_metric, from.value_metric);
    }
  }
}

void ModelStatistics::save(StateWriter& out) const {
  for (const LayerStatistics& layer : layers_) {
    out.put(layer.hidden_square);
    for (const HeadStatistics& head : layer.heads) {
      for (const Moments* moments : {&head.keys, &head.values}) {
        out.put(moments->count());
        out.put_all(moments->mean());
        out.put_all(moments->scatter());
      }
      out.put_all(head.key_metric);
      out.put_all(head.value_metric);
    }
  }
}

void ModelStatistics::restore(StateReader& in) {
  const std::size_t dim = as_size(model_.config.head_dim);
  for (LayerStatistics& layer : layers_) {
    layer.hidden_square = in.get();
    for (HeadStatistics& head : layer.heads) {
      for (Moments* moments : {&head.keys, &head.values}) {
        const double count = in.get();
        std::vector<double> mean(dim), scatter(dim * dim);
        in.fill(mean);
        in.fill(scatter);
        *moments = Moments(count, std::move(mean), std::move(scatter));
      }
      in.fill(head.key_metric);
      in.fill(head.value_metric);
    }
  }
}

}  // namespace veloxquant
