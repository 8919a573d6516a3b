#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/precompute.hpp>

#include "calibration/ratequant_artifact.hpp"
#include "eval/calibration_run.hpp"
#include "eval/group_statistics.hpp"
#include "eval/pass_sizes.hpp"
#include "quantizers/ratequant.hpp"

namespace veloxquant {
namespace {

RowRecoder recoder(std::shared_ptr<const VectorQuantizer> method, int head) {
  return [method = std::move(method), head](float* rows, const TokenPlace* places, std::size_t count) {
    std::vector<std::uint8_t> codes(count * method->code_bytes(head)),
        scales(count * method->scale_bytes(head));
    method->encode_rows_at(rows, places, count, head, codes.data(), scales.data());
    method->decode_rows_at(codes.data(), scales.data(), places, count, head, rows);
  };
}

// All that the findings depend on.
std::string text_of(const RatequantOptions& o) {
  return fmt::format("ratequant base={} widths={} sensitivity={} sensitivity_windows={}", o.base,
                     fmt::join(o.widths, ","), to_string(o.sensitivity), o.sensitivity_windows);
}

// The second narrowest width, where most groups end up near and what is measured stands clear of noise.
constexpr std::size_t kProbed = 1;

// Throws what is wrong with the base method or with a width of it.
WidthMethods methods_of(const RatequantOptions& options, const ModelConfig& model) {
  const auto of = [&](Role role) {
    QuantizerOptions asked{.head_dim = model.head_dim};
    asked.role = role;
    asked.kv_heads = model.kv_heads;
    return base_at_widths(options.base, options.widths, asked);
  };
  return {of(Role::keys), of(Role::values)};
}

// By width: the same for keys and values, or it throws.
std::vector<std::int64_t> vector_bits(const WidthMethods& methods, const RatequantOptions& options) {
  std::vector<std::int64_t> result;
  for (std::size_t width = 0; width < options.widths.size(); ++width) {
    const auto bits = [&](Role role) {
      const VectorQuantizer& method = methods.at(role, width);
      return 8 * static_cast<std::int64_t>(method.code_bytes(0) + method.scale_bytes(0));
    };
    if (bits(Role::keys) != bits(Role::values)) {
      throw UnsupportedError("precompute",
                             fmt::format("keys take {} bits and values {} at a width of {}; a base "
                                         "method has one size for a width",
                                         bits(Role::keys), bits(Role::values), options.widths[width]));
    }
    result.push_back(bits(Role::keys));
  }
  return result;
}

class RatequantPrecompute {
 public:
  RatequantPrecompute(CalibrationSource source, const CalibrationRequest& request,
                      const RatequantOptions& options)
      : source_(std::move(source)),
        request_(request),
        options_(options),
        settings_{.groups = {source_.name, source_.model.config.layers, source_.model.config.kv_heads,
                             source_.model.config.head_dim},
                  .base = options.base,
                  .widths = options.widths,
                  .vector_bits = {},
                  .sensitivity = to_string(options.sensitivity),
                  .target_bits = request.target_bits},
        methods_(methods_of(options, source_.model.config)),
        run_(source_, request,
             {.options = text_of(options),
              .probes = options.sensitivity == Sensitivity::measured ? settings_.groups.count() : 0,
              .probe_windows = std::min(options.sensitivity_windows, source_.windows)}) {
    settings_.vector_bits = vector_bits(methods_, options);
  }

  ArtifactStore run() {
    GroupStatistics statistics(source_.model, methods_, request_.sinks);
    run_.gather("statistics", statistics);
    std::vector<double> divergence;
    if (options_.sensitivity == Sensitivity::measured) divergence = probe();
    return run_.leads() ? store(statistics, divergence) : ArtifactStore();
  }

 private:
  // KL by group, with this group alone coded.
  std::vector<double> probe() {
    const ModelGroups& groups = settings_.groups;
    std::vector<Probe> probes;
    for (std::size_t g = 0; g < groups.count(); ++g) {
      const Role role = groups.role_of(g);
      const auto& methods = role == Role::keys ? methods_.keys : methods_.values;
      probes.push_back(
          {groups.layer_of(g), role, groups.head_of(g), recoder(methods[kProbed], groups.head_of(g))});
    }
    return run_.measure(probes, methods_.keys.front()->frame());
  }

  ArtifactStore store(const GroupStatistics& statistics, const std::vector<double>& divergence) const {
    ArtifactStore store;
    write_settings(settings_, store);
    store.set_fact("probe_bits", std::to_string(options_.widths[kProbed]));
    run_.write_extent(store);
    const ModelGroups& groups = settings_.groups;
    const auto heads = static_cast<std::int64_t>(groups.kv_heads), widths = std::ssize(options_.widths);
    for (int layer = 0; layer < groups.layers; ++layer) {
      for (const Role role : {Role::keys, Role::values}) {
        std::vector<float> distortion, weight, proxy;
        for (int head = 0; head < groups.kv_heads; ++head) {
          const std::size_t g = groups.index(layer, role, head);
          const std::vector<double> curve = statistics.distortion(g);
          for (const double lost : curve) distortion.push_back(static_cast<float>(lost));
          proxy.push_back(static_cast<float>(statistics.proxy(g)));
          if (!divergence.empty())
            weight.push_back(curve[kProbed] > 0 ? static_cast<float>(divergence[g] / curve[kProbed]) : 0.0f);
        }
        const auto put = [&](const char* what, const std::vector<float>& data, Shape shape) {
          store.put(artifact_tensor(layer, role, what), Tensor::copy_of<float>(data, std::move(shape)));
        };
        put("distortion", distortion, {heads, widths});
        put("proxy", proxy, {heads});
        if (!weight.empty()) put("weight", weight, {heads});
      }
    }
    return store;
  }

  CalibrationSource source_;
  const CalibrationRequest& request_;
  const RatequantOptions& options_;
  RatequantSettings settings_;
  WidthMethods methods_;
  CalibrationRun run_;
};

void check(const RatequantOptions& options) {
  const bool ascending =
      std::ranges::adjacent_find(options.widths, std::greater_equal()) == options.widths.end();
  if (options.widths.size() < 2 || options.widths.size() > kMostWidths || !ascending ||
      options.widths.back() > kWidestWidth) {
    throw ConfigError("precompute",
                      fmt::format("widths of {} bits; it takes two to {}, ascending, up to {} bits",
                                  fmt::join(options.widths, ","), kMostWidths, kWidestWidth));
  }
  if (options.sensitivity == Sensitivity::none) {
    throw ConfigError("precompute",
                      "a sensitivity of none leaves method 'ratequant' nothing to weigh groups by");
  }
  if (options.sensitivity == Sensitivity::measured && options.sensitivity_windows < 1) {
    throw ConfigError("precompute", "weights cannot be measured on 0 windows");
  }
}

void check(const ActivationFile& file, const RatequantOptions& options) {
  check(options);
  require_served(file, options.sensitivity);
  if (file.has_outputs()) return;
  throw ConfigError(
      "precompute",
      fmt::format("{} has no output projections, which the sensitivity 'proxy' of ratequant goes by",
                  file.name()));
}

CalibrationNeeds needs(const PassSizes& sizes, const RatequantOptions& options) {
  const bool probed = options.sensitivity == Sensitivity::measured;
  const auto widths = static_cast<double>(options.widths.size());
  return {.passes = sizes.passes(probed ? options.sensitivity_windows : 0),
          .memory_bytes = static_cast<std::uint64_t>(sizes.pass_bytes + (probed ? sizes.probe_bytes : 0.0)),
          .artifact_bytes =
              static_cast<std::uint64_t>(sizes.groups * (widths + 1 + (probed ? 1 : 0)) * sizeof(float))};
}

}  // namespace

CalibrationNeeds ratequant_needs(const ModelConfig& model, const CalibrationRequest& request,
                                 const RatequantOptions& options) {
  check(options);
  vector_bits(methods_of(options, model), options);
  return needs(PassSizes(model, request), options);
}

CalibrationNeeds ratequant_needs(const ActivationFile& activations, const RatequantOptions& options) {
  check(activations, options);
  vector_bits(methods_of(options, activations.config()), options);
  return without_passes(needs(PassSizes(activations), options));
}

ArtifactStore precompute_ratequant(Decoder& decoder, const CalibrationRequest& request,
                                   const RatequantOptions& options) {
  check(options);
  return RatequantPrecompute(source_of(decoder, request), request, options).run();
}

ArtifactStore precompute_ratequant(const ActivationFile& activations, const CalibrationRequest& request,
                                   const RatequantOptions& options, const std::shared_ptr<ThreadPool>& pool) {
  check(activations, options);
  return RatequantPrecompute(source_of(activations, pool), request, options).run();
}

}  // namespace veloxquant
