#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/precompute.hpp>

#include "calibration/spectral_artifact.hpp"
#include "calibration/spectral_fit.hpp"
#include "eval/calibration_run.hpp"
#include "eval/model_statistics.hpp"
#include "eval/pass_sizes.hpp"
#include "quantizers/spectral_head.hpp"

namespace veloxquant {
namespace {

constexpr double kProbeBits = 2;

std::size_t as_size(std::int64_t n) { return static_cast<std::size_t>(n); }

RowRecoder recoder(const std::shared_ptr<const SpectralHead>& head) {
  return [head](float* rows, const TokenPlace* places, std::size_t count) {
    std::vector<std::uint8_t> codes(count * head->spec().code_bytes()), gains(count);
    head->encode(rows, places, count, codes.data(), gains.data());
    head->decode(codes.data(), gains.data(), places, count, rows);
  };
}

// All that the findings depend on.
std::string text_of(const SpectralOptions& o) {
  return fmt::format("spectral frame={} metric={} sensitivity={} code={} gain={} sensitivity_windows={}",
                     o.frame, to_string(o.metric), to_string(o.sensitivity), to_string(o.code), o.gain,
                     o.sensitivity_windows);
}

class SpectralPrecompute {
 public:
  SpectralPrecompute(CalibrationSource source, const CalibrationRequest& request,
                     const SpectralOptions& options)
      : source_(std::move(source)),
        request_(request),
        options_(options),
        settings_{source_.name,
                  source_.model.config.layers,
                  source_.model.config.kv_heads,
                  source_.model.config.head_dim,
                  options.frame,
                  options.code,
                  options.gain,
                  request.target_bits,
                  to_string(source_.model.config.rope)},
        groups_(settings_.groups()),
        turn_(std::make_shared<const RopeTurn>(source_.model.config.rope, source_.model.config.head_dim)),
        run_(source_, request,
             {.options = text_of(options),
              .steps = as_size(settings_.layers),
              .probes = options.sensitivity == Sensitivity::measured ? groups_.count() : 0,
              .probe_windows = std::min(options.sensitivity_windows, source_.windows)}) {}

  ArtifactStore run() {
    ModelStatistics statistics(source_.model, options_.metric, request_.sinks, request_.seed);
    run_.gather("statistics", statistics);
    fit(statistics);
    weigh(statistics);
    return run_.leads() ? store() : ArtifactStore();
  }

 private:
  // Frames average over as many turns as they have tokens; without frames, over the context.
  std::int64_t turns() const { return options_.frame > 0 ? options_.frame : source_.tokens; }

  void fit(const ModelStatistics& statistics) {
    const int dim = settings_.head_dim;
    for (int layer = 0; layer < settings_.layers; ++layer) {
      run_.step("fits", fmt::format("layer {} of {}", layer + 1, settings_.layers));
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

  void weigh(const ModelStatistics& statistics) {
    if (options_.sensitivity == Sensitivity::proxy) weigh_by_inputs(statistics);
    if (options_.sensitivity == Sensitivity::measured) measure_weights();
  }

  // A layer whose inputs are (nearly) zero has no weight without bound.
  void weigh_by_inputs(const ModelStatistics& statistics) {
    constexpr double kLeast = 1e-6;  // beside the layer of the largest inputs
    const auto square = [&](int layer) {
      return statistics.layers()[as_size(layer)].hidden_square / static_cast<double>(source_.windows);
    };
    double largest = 0;
    for (int layer = 0; layer < settings_.layers; ++layer) largest = std::max(largest, square(layer));
    if (!(largest > 0))
      throw NumericError("precompute",
                         "the inputs of all layers are zero, and they are what the sensitivity "
                         "'proxy' weighs layers by; take 'none'");
    for (std::size_t g = 0; g < weights_.size(); ++g)
      weights_[g] = static_cast<float>(1 / std::max(square(groups_.layer_of(g)), kLeast * largest));
  }

  // Every group alone at 2 bits, with its own water-filling.
  void measure_weights() {
    std::vector<Probe> probes;
    std::vector<double> predicted;
    for (std::size_t g = 0; g < fits_.size(); ++g) {
      const Allocation own = allocate_bits(
          {group(g, 1)}, {.target_bits = kProbeBits, .code = options_.code, .gain = options_.gain});
      const Role role = groups_.role_of(g);
      const SpectralFit& fit = fits_[g];
      const SpectralBasis basis{settings_.head_dim, means_[g].data(), fit.forward.data(), fit.inverse.data(),
                                fit.lambda.data()};
      probes.push_back(
          {groups_.layer_of(g), role, groups_.head_of(g),
           recoder(std::make_shared<const SpectralHead>(basis, own.runs[0], options_.gain,
                                                        role == Role::keys ? turn_ : nullptr, turns()))});
      predicted.push_back(own.predicted_kl);
    }
    const std::vector<double> means =
        run_.measure(probes, options_.frame > 0 ? options_.frame : kEndlessFrame);
    for (std::size_t g = 0; g < weights_.size(); ++g)
      weights_[g] = predicted[g] > 0 ? static_cast<float>(means[g] / predicted[g]) : 0.0f;
  }

  ArtifactStore store() const {
    ArtifactStore store;
    write_settings(settings_, store);
    store.set_fact("metric", to_string(options_.metric));
    store.set_fact("sensitivity", to_string(options_.sensitivity));
    run_.write_extent(store);
    store.set_fact("seed", std::to_string(request_.seed));
    const auto dim = static_cast<std::int64_t>(settings_.head_dim),
               heads = static_cast<std::int64_t>(settings_.kv_heads);
    for (int layer = 0; layer < settings_.layers; ++layer) {
      for (const Role role : {Role::keys, Role::values}) {
        const auto joined = [&](const auto& rows_of, Shape shape) {
          std::vector<float> rows;
          for (int h = 0; h < settings_.kv_heads; ++h) {
            const std::vector<float>& row = rows_of(groups_.index(layer, role, h));
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
        const std::size_t first = groups_.index(layer, role, 0);
        put("weight", Tensor::copy_of<float>(std::span(weights_).subspan(first, as_size(heads)), {heads}));
      }
    }
    return store;
  }

  CalibrationSource source_;
  const CalibrationRequest& request_;
  const SpectralOptions& options_;
  SpectralSettings settings_;
  ModelGroups groups_;
  std::shared_ptr<const RopeTurn> turn_;
  CalibrationRun run_;
  std::vector<SpectralFit> fits_;          // by group
  std::vector<std::vector<float>> means_;  // by group
  std::vector<float> weights_;             // by group
};

void check(const ModelConfig& model, const SpectralOptions& options) {
  if (options.frame < 0 || options.frame > kEndlessFrame) {
    throw ConfigError("precompute", fmt::format("frames of {} tokens; 0 means none, else from 1 to {}",
                                                options.frame, kEndlessFrame));
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

void check(const ActivationFile& file, const SpectralOptions& options) {
  check(file.config(), options);
  require_served(file, options.sensitivity);
  if (options.metric == KeyMetric::output && !file.has_outputs()) {
    throw ConfigError(
        "precompute",
        fmt::format("{} has no output projections, which the metric 'output' goes by; take 'query'",
                    file.name()));
  }
}

CalibrationNeeds needs(const PassSizes& sizes, const SpectralOptions& options) {
  const bool probed = options.sensitivity == Sensitivity::measured;
  const double square = sizes.dim * sizes.dim, statistics = sizes.groups * 2 * square * sizeof(double),
               weights = sizes.heads * sizes.tokens * (kSampledKeys + sizes.dim) * sizeof(float),
               fits = sizes.groups * 4 * square * sizeof(float);
  return {.passes = sizes.passes(probed ? options.sensitivity_windows : 0),
          .memory_bytes = static_cast<std::uint64_t>(
              statistics + sizes.pass_bytes + std::max(weights, probed ? sizes.probe_bytes + fits : 0.0)),
          .artifact_bytes =
              static_cast<std::uint64_t>(sizes.groups * (2 * square + 2 * sizes.dim + 1) * sizeof(float))};
}

}  // namespace

CalibrationNeeds spectral_needs(const ModelConfig& model, const CalibrationRequest& request,
                                const SpectralOptions& options) {
  check(model, options);
  return needs(PassSizes(model, request), options);
}

CalibrationNeeds spectral_needs(const ActivationFile& activations, const SpectralOptions& options) {
  check(activations, options);
  return without_passes(needs(PassSizes(activations), options));
}

ArtifactStore precompute_spectral(Decoder& decoder, const CalibrationRequest& request,
                                  const SpectralOptions& options) {
  check(decoder.config(), options);
  return SpectralPrecompute(source_of(decoder, request), request, options).run();
}

ArtifactStore precompute_spectral(const ActivationFile& activations, const CalibrationRequest& request,
                                  const SpectralOptions& options, const std::shared_ptr<ThreadPool>& pool) {
  check(activations, options);
  return SpectralPrecompute(source_of(activations, pool), request, options).run();
}

}  // namespace veloxquant
