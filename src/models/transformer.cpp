#include "models/transformer.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "models/heads.hpp"
#include "models/row_kernels.hpp"
#include "models/row_loop.hpp"

namespace veloxquant {
namespace {

// Tokens that the MLP takes at a time: its intermediate values are the widest of the model.
constexpr std::int64_t kMlpRows = 1024;

Tensor floats(Shape shape) { return Tensor::empty(std::move(shape), DType::f32); }

float* row_of(const Tensor& matrix, std::int64_t row) { return matrix.data<float>() + row * matrix.dim(1); }

void widen_row(const Tensor& matrix, std::int64_t row, float* out) {
  const auto width = static_cast<std::size_t>(matrix.dim(1));
  const auto begin = static_cast<std::size_t>(row) * width;
  switch (matrix.dtype()) {
    case DType::bf16:
      return widen_bf16(matrix.data<bf16>() + begin, width, out);
    case DType::f16:
      for (std::size_t i = 0; i < width; ++i) out[i] = to_f32(matrix.data<f16>()[begin + i]);
      return;
    default:
      std::memcpy(out, matrix.data<float>() + begin, width * sizeof(float));
  }
}

}  // namespace

Transformer::Transformer(const ModelConfig& config, const ModelWeights& weights, DType arithmetic,
                         std::shared_ptr<ThreadPool> pool)
    : config_(config),
      weights_(weights),
      pool_(pool),
      engine_(arithmetic, pool),
      frequencies_(config.rope.inverse_frequencies()) {}

Tensor Transformer::embed(std::span<const std::uint32_t> tokens) {
  const auto count = static_cast<std::int64_t>(tokens.size());
  const Tensor x = floats({count, config_.hidden});
  for_each_row(*pool_, count, [&](std::int64_t i) {
    widen_row(weights_.embedding, tokens[static_cast<std::size_t>(i)], row_of(x, i));
  });
  return x;
}

Tensor Transformer::normed(const Tensor& x, const Tensor& weight) {
  const Tensor out = floats(x.shape());
  for_each_row(*pool_, x.dim(0), [&](std::int64_t i) {
    rms_norm(row_of(x, i), weight.data<float>(), static_cast<std::size_t>(x.dim(1)),
             static_cast<float>(config_.rms_norm_eps), row_of(out, i));
  });
  return out;
}

void Transformer::add_rows(const Tensor& x, const Tensor& y) {
  for_each_row(*pool_, x.dim(0), [&](std::int64_t i) {
    add_to(row_of(x, i), row_of(y, i), static_cast<std::size_t>(x.dim(1)));
  });
}

void Transformer::attention_block(int layer, const RotaryAngles& angles, PackedKVCache& cache,
                                  const ForwardOptions& options, const Tensor& x) {
  const LayerWeights& w = weights_.layers[static_cast<std::size_t>(layer)];
  const std::int64_t tokens = x.dim(0);
  const std::int64_t heads = config_.heads, kv_heads = config_.kv_heads, head_dim = config_.head_dim;
  const auto eps = static_cast<float>(config_.rms_norm_eps);

  const Tensor query_rows = floats({tokens, heads * head_dim});
  const Tensor key_rows = floats({tokens, kv_heads * head_dim}), value_rows = floats(key_rows.shape());
  {
    const Tensor input = normed(x, w.attention_norm);
    const Linear* const layers[] = {&w.query, &w.key, &w.value};
    float* const outputs[] = {query_rows.data<float>(), key_rows.data<float>(), value_rows.data<float>()};
    engine_.apply(input.data<float>(), tokens, layers, outputs);
  }
  const Tensor queries = floats({1, heads, tokens, head_dim});
  const Tensor keys = floats({1, kv_heads, tokens, head_dim}), values = floats(keys.shape());
  const auto norm_of = [](const Tensor& norm) { return norm.defined() ? &norm : nullptr; };
  split_heads(query_rows, {norm_of(w.query_norm), eps, &angles}, queries, *pool_);
  split_heads(key_rows, {norm_of(w.key_norm), eps, &angles}, keys, *pool_);
  split_heads(value_rows, {}, values, *pool_);

  if (options.editor) options.editor(layer, keys, values);
  cache.append(keys, values);
  const AttentionMask mask{.causal = true, .window = config_.windows[static_cast<std::size_t>(layer)]};
  const Tensor attention = cache.attend(queries, 0, mask);
  if (options.observer) options.observer(layer, {x, queries, keys, values, attention});

  merge_heads(attention, query_rows, *pool_);
  const Tensor projected = floats({tokens, config_.hidden});
  engine_.apply(query_rows.data<float>(), tokens, w.output, projected.data<float>());
  add_rows(x, projected);
}

void Transformer::mlp_block(int layer, const Tensor& x) {
  const LayerWeights& w = weights_.layers[static_cast<std::size_t>(layer)];
  const std::int64_t rows = x.dim(0);
  const Tensor gate = floats({rows, config_.intermediate}), up = floats(gate.shape());
  {
    const Tensor input = normed(x, w.mlp_norm);
    const Linear* const layers[] = {&w.gate, &w.up};
    float* const outputs[] = {gate.data<float>(), up.data<float>()};
    engine_.apply(input.data<float>(), rows, layers, outputs);
  }
  for_each_row(*pool_, rows, [&](std::int64_t i) {
    silu_times(row_of(gate, i), row_of(up, i), static_cast<std::size_t>(config_.intermediate));
  });
  const Tensor projected = floats({rows, config_.hidden});
  engine_.apply(gate.data<float>(), rows, w.down, projected.data<float>());
  add_rows(x, projected);
}

Tensor Transformer::run(std::span<const std::uint32_t> tokens, std::int64_t first, LayerCaches caches,
                        const ForwardOptions& options) {
  const Tensor x = embed(tokens);
  run_layers(x, 0, first, caches, options);
  return x;
}

void Transformer::run_layers(const Tensor& x, int first_layer, std::int64_t first, LayerCaches caches,
                             const ForwardOptions& options) {
  const RotaryAngles angles(frequencies_, first, x.dim(0), *pool_);
  for (int layer = first_layer; layer < config_.layers; ++layer) {
    attention_block(layer, angles, *caches[static_cast<std::size_t>(layer - first_layer)], options, x);
    for (std::int64_t begin = 0; begin < x.dim(0); begin += kMlpRows) {
      mlp_block(layer, x.slice(0, begin, std::min(begin + kMlpRows, x.dim(0))));
    }
  }
}

Tensor Transformer::final_norm(const Tensor& hidden) { return normed(hidden, weights_.final_norm); }

Tensor Transformer::logits(const Tensor& hidden) {
  const Tensor result = floats({hidden.dim(0), config_.vocab});
  engine_.apply(hidden.data<float>(), hidden.dim(0), weights_.head, result.data<float>());
  return result;
}

}  // namespace veloxquant
