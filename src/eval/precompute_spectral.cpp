#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/precompute.hpp>

#include "calibration/spectral_artifact.hpp"
#include "calibration/spectral_fit.hpp"
#include "eval/model_statistics.hpp"
#include "eval/passes.hpp"
#include "eval/sensitivity.hpp"
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

class SpectralPrecompute {
 public:
  SpectralPrecompute(Decoder& decoder, const CalibrationRequest& request, const SpectralOptions& options)
      : decoder_(decoder),
        request_(request),
        options_(options),
        turn_(std::make_shared<const RopeTurn>(decoder.rope(), decoder.config().head_dim)) {
    const ModelConfig& config = decoder.config();
    settings_ = {decoder.fingerprint(), config.layers, config.kv_heads, config.head_dim,
                 options.frame,         options.code,  options.gain,    request.target_bits};
    const std::size_t groups = as_size(config.layers) * 2 * as_size(config.kv_heads);
    const std::size_t windows = std::min(options.sensitivity_windows, request.windows.size());
    total_ = request.windows.size() + as_size(config.layers) +
             (options.sensitivity == Sensitivity::measured ? groups * windows : 0);
  }

  ArtifactStore run() {
    ModelStatistics statistics(decoder_, options_.metric, request_.sinks, request_.seed);
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

  void gather(ModelStatistics& statistics) {
    for (std::size_t i = 0; i < request_.windows.size(); ++i) {
      step("statistics", fmt::format("window {} of {}", i + 1, request_.windows.size()));
      observe_window(decoder_, request_.windows[i], std::ref(statistics));
    }
  }

  // Frames average over as many turns as they have tokens; without frames, over the context.
  std::int64_t turns() const {
    return options_.frame > 0 ? options_.frame : std::ssize(request_.windows.front());
  }

  void fit(const ModelStatistics& statistics) {
    const int dim = settings_.head_dim;
    for (int layer = 0; layer < settings_.layers; ++layer) {
      step("fits", fmt::format("layer {} of {}", layer + 1, settings_.layers));
      const auto& heads = statistics.layers()[as_size(layer)].heads;
      for (const Role role : {Role::keys, Role::values}) {
        const std::size_t first = fits_.size();
        fits_.resize(first + heads.size());
        means_.resize(first + heads.size());
        decoder_.pool()->parallel_for(heads.size(), [&](std::size_t h, int) {
          const bool keys = role == Role::keys;
          const Moments& moments = keys ? heads[h].keys : heads[h].values;
          std::vector<double> metric = keys ? heads[h].key_metric : heads[h].value_metric;
          std::vector<double> covariance = moments.covariance();
          for (double& value : metric) value /= static_cast<double>(request_.windows.size());
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

  AllocationGroup group(std::size_t g, double weight) const {
    return {fits_[g].lambda, weight, run_step(role_of(g), settings_.head_dim)};
  }
  Role role_of(std::size_t g) const {
    return g / as_size(settings_.kv_heads) % 2 == 1 ? Role::values : Role::keys;
  }
  int layer_of(std::size_t g) const { return static_cast<int>(g / as_size(settings_.kv_heads) / 2); }

  void weigh(const ModelStatistics& statistics) {
    if (options_.sensitivity == Sensitivity::proxy) {
      const auto count = static_cast<double>(request_.windows.size());
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
          {group(g, 1)},
          {.target_bits = kProbeBits, .code = options_.code, .gain_bits = options_.gain ? kGainBits : 0});
      const bool keys = role_of(g) == Role::keys;
      const SpectralFit& fit = fits_[g];
      const SpectralBasis basis{settings_.head_dim, means_[g].data(), fit.forward.data(), fit.inverse.data(),
                                fit.lambda.data()};
      probes.push_back({layer_of(g), role_of(g), static_cast<int>(g % as_size(settings_.kv_heads)),
                        recoder(std::make_shared<const SpectralHead>(basis, own.runs[0], options_.gain,
                                                                     keys ? turn_ : nullptr, turns()))});
      predicted.push_back(own.predicted_kl);
    }
    const std::size_t windows = std::min(options_.sensitivity_windows, request_.windows.size());
    const std::int64_t frame = options_.frame > 0 ? options_.frame : kEndlessFrame;
    const std::vector<double> measured =
        measure_probes(decoder_, std::span(request_.windows).first(windows), probes, frame, request_.sinks,
                       [&](std::size_t i) {
                         step("sensitivity", fmt::format("group {} of {}", i + 1, probes.size() * windows));
                       });
    for (std::size_t g = 0; g < weights_.size(); ++g) {
      weights_[g] = predicted[g] > 0 ? static_cast<float>(measured[g] / predicted[g]) : 0.0f;
    }
  }

  ArtifactStore store() const {
    ArtifactStore store;
    write_settings(settings_, store);
    store.set_fact("metric", to_string(options_.metric));
    store.set_fact("sensitivity", to_string(options_.sensitivity));
    store.set_fact("sinks", std::to_string(request_.sinks));
    store.set_fact("windows", std::to_string(request_.windows.size()));
    store.set_fact("sequence_length", std::to_string(request_.windows.front().size()));
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

  Decoder& decoder_;
  const CalibrationRequest& request_;
  const SpectralOptions& options_;
  std::shared_ptr<const RopeTurn> turn_;
  SpectralSettings settings_;
  std::vector<SpectralFit> fits_;          // by group
  std::vector<std::vector<float>> means_;  // by group
  std::vector<float> weights_;             // by group
  std::size_t done_ = 0, total_ = 0;
};

void check(const Decoder& decoder, const CalibrationRequest& request, const SpectralOptions& options) {
  require_calibration(request);
  if (options.frame < 0) {
    throw ConfigError("precompute",
                      fmt::format("frames of {} tokens; 0 means none, else 1 or more", options.frame));
  }
  if (options.sensitivity == Sensitivity::measured && options.sensitivity_windows < 1) {
    throw ConfigError("precompute", "weights cannot be measured on 0 windows");
  }
  if (decoder.config().head_dim % 8 != 0) {
    throw UnsupportedError("precompute",
                           fmt::format("head_dim {} is no multiple of 8, in which runs of codes are laid out",
                                       decoder.config().head_dim));
  }
}

}  // namespace

ArtifactStore precompute_spectral(Decoder& decoder, const CalibrationRequest& request,
                                  const SpectralOptions& options) {
  check(decoder, request, options);
  return SpectralPrecompute(decoder, request, options).run();
}

}  // namespace veloxquant
