#include "eval/calibration_source.hpp"

#include <fmt/format.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <veloxquant/core/error.hpp>

#include "eval/passes.hpp"
#include "transform/rope_turn.hpp"

namespace veloxquant {
namespace {

std::size_t as_size(std::int64_t n) { return static_cast<std::size_t>(n); }

double mean_square(const Tensor& input) {
  double square = 0;
  for (const float x : input.span<const float>()) square += static_cast<double>(x) * static_cast<double>(x);
  return square / static_cast<double>(input.dim(0));
}

// One layer of a window: turned by the rotary embedding, and attended exactly.
void show_layer(const ActivationFile& file, const ModelParts& model, std::size_t window, int layer,
                const HeadObserver& observer) {
  const RopeTurn turn(model.config.rope, model.config.head_dim);
  const std::int64_t dim = model.config.head_dim, tokens = file.tokens();
  const auto turned = [&](const Tensor& rows) {
    Tensor result = Tensor::empty({1, rows.dim(0), tokens, dim}, DType::f32);
    model.pool->parallel_for(as_size(rows.dim(0)), [&](std::size_t h, int) {
      const std::ptrdiff_t from = static_cast<std::ptrdiff_t>(h) * tokens * dim;
      for (std::int64_t t = 0; t < tokens; ++t) {
        turn.forwards(turn.angles(t), rows.data<const float>() + from + t * dim,
                      result.data<float>() + from + t * dim);
      }
    });
    return result;
  };
  const Tensor queries = turned(file.queries(window, layer)), keys = turned(file.keys(window, layer)),
               values = file.values(window, layer).reshape({1, model.config.kv_heads, tokens, dim});
  KVCacheOptions options = cache_options(model.config);
  options.layers = 1;
  options.keys = options.values = MethodSpec::parse("fp32");
  const auto caches = make_caches(std::make_shared<const KVCacheConfig>(options), {}, model.pool);
  caches[0]->append(keys, values);
  const Tensor attention =
      caches[0]->attend(queries, 0, {.causal = true, .window = model.config.windows[as_size(layer)]});
  observer(layer, {queries, keys, values, attention, file.input_square(window, layer)});
}

}  // namespace

CalibrationSource source_of(Decoder& decoder, const CalibrationRequest& request) {
  require_calibration(request);
  CalibrationSource source{
      .model = {decoder.config(), decoder.pool(),
                [&decoder](int layer) { return decoder.output_projection(layer); }},
      .name = decoder.fingerprint(),
      .computed = to_string(decoder.arithmetic()),
      .windows = request.windows.size(),
      .tokens = std::ssize(request.windows.front()),
      .run =
          [&](std::size_t window, const HeadObserver& observer) {
            observe_window(decoder, request.windows[window], [&](int layer, const LayerActivations& a) {
              observer(layer, {a.queries, a.keys, a.values, a.attention, mean_square(a.input)});
            });
          },
      .decoder = &decoder};
  for (const TokenIds& window : request.windows)
    source.text = XXH3_64bits_withSeed(window.data(), window.size() * sizeof(window[0]), source.text);
  return source;
}

void require_served(const ActivationFile& file, Sensitivity sensitivity) {
  if (sensitivity == Sensitivity::measured) {
    throw ConfigError("precompute",
                      "a sensitivity of 'measured' needs a model that runs; activations serve 'proxy' and, "
                      "where a method takes it, 'none'");
  }
  if (sensitivity == Sensitivity::proxy && !file.has_inputs()) {
    throw ConfigError(
        "precompute",
        fmt::format("{} has no inputs of layers, which the sensitivity 'proxy' goes by", file.name()));
  }
}

CalibrationSource source_of(const ActivationFile& file, const std::shared_ptr<ThreadPool>& pool) {
  CalibrationSource source{.model = {file.config(), pool ? pool : default_thread_pool(), {}},
                           .name = file.model(),
                           .computed = "given",
                           .text = file.hash(),
                           .windows = file.windows(),
                           .tokens = file.tokens(),
                           .run = {}};
  if (file.has_outputs())
    source.model.output_projection = [&file](int layer) { return file.output_projection(layer); };
  source.run = [&file, model = source.model](std::size_t window, const HeadObserver& observer) {
    for (int layer = 0; layer < model.config.layers; ++layer)
      show_layer(file, model, window, layer, observer);
  };
  return source;
}

}  // namespace veloxquant
