#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <memory>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/precompute.hpp>

#include "calibration/spectral_artifact.hpp"
#include "calibration/spectral_fit.hpp"
#include "eval/checkpoint.hpp"
#include "eval/model_statistics.hpp"
#include "eval/passes.hpp"
#include "eval/sensitivity.hpp"
#include "quantizers/spectral_head.hpp"

namespace veloxquant {
namespace {

constexpr double kProbeBits = 2;
// In checkpoints: windows whose statistics are in, i64 [1]; what the probes gave so far, f64 [n].
constexpr const char* kWindows = "windows";
constexpr const char* kDivergences = "divergences";

std::size_t as_size(std::int64_t n) { return static_cast<std::size_t>(n); }

// Where the calibration finds what it goes by: a model that runs on the request's windows, or a file of activations.
struct Source {
  ModelParts model;
  std::string name;        // what artifacts are bound to
  std::string computed;    // by what the activations were
  std::uint64_t text = 0;  // hash of the text, or of what stands for it
  std::size_t windows = 0;
  std::int64_t tokens = 0;  // of a window
  std::function<void(std::size_t window, ModelStatistics&)> gather;
  Decoder* decoder = nullptr;  // to measure weights with
};

Source source_of(Decoder& decoder, const CalibrationRequest& request) {
  Source source{.model = parts_of(decoder),
                .name = decoder.fingerprint(),
                .computed = to_string(decoder.arithmetic()),
                .windows = request.windows.size(),
                .tokens = std::ssize(request.windows.front()),
                .gather =
                    [&](std::size_t window, ModelStatistics& statistics) {
                      KVCacheOptions options = cache_options(decoder.config());
                      options.keys = options.values = MethodSpec::parse("fp32");
                      const auto caches =
                          make_caches(std::make_shared<const KVCacheConfig>(options), {}, decoder.pool());
                      decoder.forward_hidden(request.windows[window], caches,
                                             {.first_row = kNoRows, .observer = std::ref(statistics)});
                    },
                .decoder = &decoder};
  for (const TokenIds& window : request.windows)
    source.text = XXH3_64bits_withSeed(window.data(), window.size() * sizeof(window[0]), source.text);
  return source;
}

// One layer of a window: turned by the rotary embedding, and attended exactly.
void add_layer(const ActivationFile& file, const ModelParts& model, std::size_t window, int layer,
               ModelStatistics& statistics) {
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
  statistics.add(layer, {queries, keys, values, attention}, file.input_square(window, layer));
}

Source source_of(const ActivationFile& file, const std::shared_ptr<ThreadPool>& pool) {
  Source source{.model = {.config = file.config(), .pool = pool, .output_projection = {}},
                .name = file.model(),
                .computed = "given",
                .text = file.hash(),
                .windows = file.windows(),
                .tokens = file.tokens(),
                .gather = {}};
  if (file.has_outputs())
    source.model.output_projection = [&file](int layer) { return file.output_projection(layer); };
  source.gather = [&file, model = source.model](std::size_t window, ModelStatistics& statistics) {
    for (int layer = 0; layer < model.config.layers; ++layer)
      add_layer(file, model, window, layer, statistics);
  };
  return source;
}

RowRecoder recoder(const std::shared_ptr<const SpectralHead>& head) {
  return [head](float* rows, const TokenPlace* places, std::size_t count) {
    std::vector<std::uint8_t> codes(count * head->spec().code_bytes()), gains(count);
    head->encode(rows, places, count, codes.data(), gains.data());
    head->decode(codes.data(), gains.data(), places, count, rows);
  };
}

class SpectralPrecompute {
 public:
  SpectralPrecompute(Source source, const CalibrationRequest& request, const SpectralOptions& options)
      : source_(std::move(source)),
        request_(request),
        options_(options),
        turn_(std::make_shared<const RopeTurn>(source_.model.config.rope, source_.model.config.head_dim)) {
    const ModelConfig& config = source_.model.config;
    settings_ = {source_.name,  config.layers, config.kv_heads, config.head_dim,
                 options.frame, options.code,  options.gain,    request.target_bits};
    const std::size_t groups = as_size(config.layers) * 2 * as_size(config.kv_heads);
    const std::size_t windows = std::min(options.sensitivity_windows, source_.windows);
    total_ = source_.windows + as_size(config.layers) +
             (options.sensitivity == Sensitivity::measured ? groups * windows : 0);
    if (!options.checkpoints.empty()) {
      const std::string key = request_key();
      statistics_file_ = Checkpoint(options.checkpoints / "statistics.safetensors", key);
      weights_file_ = Checkpoint(options.checkpoints / "weights.safetensors", key);
    }
  }

  ArtifactStore run() {
    ModelStatistics statistics(source_.model, options_.metric, request_.sinks, request_.seed);
    gather(statistics);
    fit(statistics);
    weigh(statistics);
    return store();
  }

 private:
  void step(const std::string& stage, const std::string& item) {
    if (request_.progress) request_.progress(stage, item, done_, total_);
    ++done_;
  }

  // All that the artifacts depend on.
  std::string request_key() const {
    return fmt::format(
        "spectral model={} arithmetic={} windows={} text={:016x} sinks={} seed={} frame={} metric={} "
        "sensitivity={} code={} gain={} sensitivity_windows={}",
        settings_.model, source_.computed, source_.windows, source_.text, request_.sinks, request_.seed,
        options_.frame, to_string(options_.metric), to_string(options_.sensitivity), to_string(options_.code),
        options_.gain, options_.sensitivity_windows);
  }

  void gather(ModelStatistics& statistics) {
    std::size_t first = 0;
    if (const auto kept = statistics_file_.read()) {
      statistics.restore(*kept);
      first = static_cast<std::size_t>(kept->get(kWindows, kSpectralMethod).data<const std::int64_t>()[0]);
      done_ = first;
    }
    for (std::size_t i = first; i < source_.windows; ++i) {
      step("statistics", fmt::format("window {} of {}", i + 1, source_.windows));
      source_.gather(i, statistics);
      ArtifactStore kept;
      statistics.save(kept);
      const std::int64_t windows = static_cast<std::int64_t>(i) + 1;
      kept.put(kWindows, Tensor::copy_of<std::int64_t>({&windows, 1}, {1}));
      statistics_file_.write(std::move(kept));
    }
  }

  // Frames average over as many turns as they have tokens; without frames, over the context.
  std::int64_t turns() const { return options_.frame > 0 ? options_.frame : source_.tokens; }

  void fit(const ModelStatistics& statistics) {
    const int dim = settings_.head_dim;
    for (int layer = 0; layer < settings_.layers; ++layer) {
      step("fits", fmt::format("layer {} of {}", layer + 1, settings_.layers));
      const auto& heads = statistics.layers()[as_size(layer)].heads;
      for (const Role role : {Role::keys, Role::values}) {
        const std::size_t first = fits_.size();
        fits_.resize(first + heads.size());
        means_.resize(first + heads.size());
        source_.model.pool->parallel_for(heads.size(), [&](std::size_t h, int) {
          const bool keys = role == Role::keys;
          const Moments& moments = keys ? heads[h].keys : heads[h].values;
          std::vector<double> metric = keys ? heads[h].key_metric : heads[h].value_metric;
          std::vector<double> covariance = moments.covariance();
          for (double& value : metric) value /= static_cast<double>(source_.windows);
          if (keys) {
            covariance = turn_->average(covariance, turns());
            metric = turn_->average(metric, turns());
          }
          fits_[first + h] = fit_spectral(covariance, metric, dim);
          means_[first + h].assign(moments.mean().begin(), moments.mean().end());
        });
      }
    }
    weights_.assign(fits_.size(), 1.0f);
  }

  AllocationGroup group(std::size_t g, double weight) const { return {fits_[g].lambda, weight, kRunStep}; }
  Role role_of(std::size_t g) const {
    return g / as_size(settings_.kv_heads) % 2 == 1 ? Role::values : Role::keys;
  }
  int layer_of(std::size_t g) const { return static_cast<int>(g / as_size(settings_.kv_heads) / 2); }

  void weigh(const ModelStatistics& statistics) {
    if (options_.sensitivity == Sensitivity::proxy) {
      const auto count = static_cast<double>(source_.windows);
      for (std::size_t g = 0; g < weights_.size(); ++g) {
        const double square = statistics.layers()[as_size(layer_of(g))].hidden_square / count;
        weights_[g] = static_cast<float>(1 / std::max(square, 1e-30));
      }
    }
    if (options_.sensitivity == Sensitivity::measured) measure_weights();
  }

  // Every group alone at 2 bits, with its own water-filling.
  void measure_weights() {
    std::vector<Probe> probes;
    std::vector<double> predicted;
    for (std::size_t g = 0; g < fits_.size(); ++g) {
      const Allocation own = allocate_bits(
          {group(g, 1)}, {.target_bits = kProbeBits, .code = options_.code, .gain = options_.gain});
      const bool keys = role_of(g) == Role::keys;
      const SpectralFit& fit = fits_[g];
      const SpectralBasis basis{settings_.head_dim, means_[g].data(), fit.forward.data(), fit.inverse.data(),
                                fit.lambda.data()};
      probes.push_back({layer_of(g), role_of(g), static_cast<int>(g % as_size(settings_.kv_heads)),
                        recoder(std::make_shared<const SpectralHead>(basis, own.runs[0], options_.gain,
                                                                     keys ? turn_ : nullptr, turns()))});
      predicted.push_back(own.predicted_kl);
    }
    const std::size_t windows = std::min(options_.sensitivity_windows, source_.windows);
    const std::int64_t frame = options_.frame > 0 ? options_.frame : kEndlessFrame;
    std::vector<double> known;
    if (const auto kept = weights_file_.read()) {
      const std::span<const double> values = kept->get(kDivergences, kSpectralMethod).span<const double>();
      known.assign(values.begin(), values.end());
      done_ += known.size();
    }
    const ProbeProgress progress{
        .begin =
            [&](std::size_t i) {
              step("sensitivity", fmt::format("group {} of {}", i + 1, probes.size() * windows));
            },
        .found =
            [&](const std::vector<double>& found) {
              ArtifactStore kept;
              kept.put(kDivergences, Tensor::copy_of<double>(found, {std::ssize(found)}));
              weights_file_.write(std::move(kept));
            }};
    const std::vector<double> measured =
        measure_probes(*source_.decoder, std::span(request_.windows).first(windows), probes, frame,
                       request_.sinks, std::move(known), progress);
    const std::vector<double> means = window_means(measured, weights_.size());
    for (std::size_t g = 0; g < weights_.size(); ++g)
      weights_[g] = predicted[g] > 0 ? static_cast<float>(means[g] / predicted[g]) : 0.0f;
  }

  ArtifactStore store() const {
    ArtifactStore store;
    write_settings(settings_, store);
    store.set_fact("metric", to_string(options_.metric));
    store.set_fact("sensitivity", to_string(options_.sensitivity));
    store.set_fact("sinks", std::to_string(request_.sinks));
    store.set_fact("windows", std::to_string(source_.windows));
    store.set_fact("sequence_length", std::to_string(source_.tokens));
    store.set_fact("seed", std::to_string(request_.seed));
    const auto dim = static_cast<std::int64_t>(settings_.head_dim),
               heads = static_cast<std::int64_t>(settings_.kv_heads);
    for (int layer = 0; layer < settings_.layers; ++layer) {
      for (const Role role : {Role::keys, Role::values}) {
        const auto joined = [&](const auto& rows_of, Shape shape) {
          std::vector<float> rows;
          for (int h = 0; h < settings_.kv_heads; ++h) {
            const std::vector<float>& row = rows_of(group_index(settings_, layer, role, h));
            rows.insert(rows.end(), row.begin(), row.end());
          }
          return Tensor::copy_of<float>(rows, std::move(shape));
        };
        const auto put = [&](const char* what, Tensor tensor) {
          store.put(spectral_tensor(layer, role, what), std::move(tensor));
        };
        put("mean", joined([&](std::size_t g) -> const auto& { return means_[g]; }, {heads, dim}));
        put("basis",
            joined([&](std::size_t g) -> const auto& { return fits_[g].forward; }, {heads, dim, dim}));
        put("inverse",
            joined([&](std::size_t g) -> const auto& { return fits_[g].inverse; }, {heads, dim, dim}));
        put("lambda", joined([&](std::size_t g) -> const auto& { return fits_[g].lambda; }, {heads, dim}));
        const std::size_t first = group_index(settings_, layer, role, 0);
        put("weight", Tensor::copy_of<float>(std::span(weights_).subspan(first, as_size(heads)), {heads}));
      }
    }
    return store;
  }

  Source source_;
  const CalibrationRequest& request_;
  const SpectralOptions& options_;
  std::shared_ptr<const RopeTurn> turn_;
  SpectralSettings settings_;
  std::vector<SpectralFit> fits_;          // by group
  std::vector<std::vector<float>> means_;  // by group
  std::vector<float> weights_;             // by group
  Checkpoint statistics_file_{{}, {}}, weights_file_{{}, {}};
  std::size_t done_ = 0, total_ = 0;
};

void check(const ModelConfig& model, const SpectralOptions& options) {
  if (options.frame < 0) {
    throw ConfigError("precompute",
                      fmt::format("frames of {} tokens; 0 means none, else 1 or more", options.frame));
  }
  if (options.sensitivity == Sensitivity::measured && options.sensitivity_windows < 1) {
    throw ConfigError("precompute", "weights cannot be measured on 0 windows");
  }
  if (model.head_dim % 8 != 0) {
    throw UnsupportedError(
        "precompute",
        fmt::format("head_dim {} is no multiple of 8, in which runs of codes are laid out", model.head_dim));
  }
}

}  // namespace

CalibrationNeeds spectral_needs(const ModelConfig& model, const CalibrationRequest& request,
                                const SpectralOptions& options) {
  const auto layers = static_cast<double>(model.layers), kv_heads = static_cast<double>(model.kv_heads),
             heads = static_cast<double>(model.heads), dim = static_cast<double>(model.head_dim),
             groups = 2 * layers * kv_heads, square = dim * dim,
             tokens = request.windows.empty() ? 0 : static_cast<double>(request.windows.front().size());
  const auto windows = static_cast<double>(request.windows.size()),
             probed = options.sensitivity == Sensitivity::measured
                          ? std::min(windows, static_cast<double>(options.sensitivity_windows))
                          : 0;
  CalibrationNeeds needs;
  // A probe of layer l, counted from 0, runs layers - l of them: (layers + 1) / 2 on average.
  needs.passes = windows + probed * (1 + groups / layers * (layers + 1) / 2);
  const double statistics = groups * 2 * square * sizeof(double),
               caches = groups * dim * tokens * sizeof(float),
               activations =
                   tokens * (8 * static_cast<double>(model.hidden) + 4 * heads * dim) * sizeof(float),
               weights = heads * tokens * (kSampledKeys + dim) * sizeof(float),
               inputs = layers * tokens * static_cast<double>(model.hidden) * sizeof(float),
               fits = groups * 4 * square * sizeof(float);
  needs.memory_bytes = static_cast<std::uint64_t>(statistics + caches + activations +
                                                  std::max(weights, probed > 0 ? inputs + fits : 0.0));
  needs.artifact_bytes = static_cast<std::uint64_t>(groups * (2 * square + 2 * dim + 1) * sizeof(float));
  return needs;
}

ArtifactStore precompute_spectral(Decoder& decoder, const CalibrationRequest& request,
                                  const SpectralOptions& options) {
  require_calibration(request);
  check(decoder.config(), options);
  return SpectralPrecompute(source_of(decoder, request), request, options).run();
}

ArtifactStore precompute_spectral(const ActivationFile& activations, const CalibrationRequest& request,
                                  const SpectralOptions& options, const std::shared_ptr<ThreadPool>& pool) {
  check(activations.config(), options);
  if (options.sensitivity == Sensitivity::measured)
    throw ConfigError("precompute",
                      "weights are measured on a model that runs; activations serve proxy and none");
  if (options.sensitivity == Sensitivity::proxy && !activations.has_inputs()) {
    throw ConfigError(
        "precompute",
        fmt::format("{} has no inputs of layers, which the sensitivity 'proxy' goes by", activations.name()));
  }
  if (options.metric == KeyMetric::output && !activations.has_outputs()) {
    throw ConfigError(
        "precompute",
        fmt::format("{} has no output projections, which the metric 'output' goes by; take 'query'",
                    activations.name()));
  }
  return SpectralPrecompute(source_of(activations, pool ? pool : default_thread_pool()), request, options)
      .run();
}

}  // namespace veloxquant
