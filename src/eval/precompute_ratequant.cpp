#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/precompute.hpp>

#include "calibration/ratequant_artifact.hpp"
#include "eval/group_statistics.hpp"
#include "eval/passes.hpp"
#include "eval/sensitivity.hpp"
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

class RatequantPrecompute {
 public:
  RatequantPrecompute(Decoder& decoder, const CalibrationRequest& request, const RatequantOptions& options)
      : decoder_(decoder), request_(request), options_(options) {
    const ModelConfig& config = decoder.config();
    settings_.groups = {decoder.fingerprint(), config.layers, config.kv_heads, config.head_dim};
    settings_.base = options.base;
    settings_.widths = options.widths;
    settings_.sensitivity = to_string(options.sensitivity);
    settings_.target_bits = request.target_bits;
    const auto methods = [&](Role role) {
      QuantizerOptions asked{.head_dim = config.head_dim};
      asked.role = role;
      asked.kv_heads = config.kv_heads;
      return base_at_widths(options.base, options.widths, asked);
    };
    methods_ = {methods(Role::keys), methods(Role::values)};
    for (std::size_t w = 0; w < options.widths.size(); ++w) settings_.vector_bits.push_back(bits_of(w));
    total_ = request.windows.size() +
             (options.sensitivity == Sensitivity::measured ? settings_.groups.count() * probe_windows() : 0);
  }

  ArtifactStore run() {
    GroupStatistics statistics(decoder_, methods_, request_.sinks);
    for (std::size_t i = 0; i < request_.windows.size(); ++i) {
      step("statistics", fmt::format("window {} of {}", i + 1, request_.windows.size()));
      observe_window(decoder_, request_.windows[i], std::ref(statistics));
    }
    std::vector<double> divergence;
    if (options_.sensitivity == Sensitivity::measured) divergence = probe();
    return store(statistics, divergence);
  }

 private:
  void step(const std::string& stage, const std::string& item) {
    if (request_.progress) request_.progress(stage, item, done_, total_);
    ++done_;
  }
  std::size_t probe_windows() const {
    return std::min(options_.sensitivity_windows, request_.windows.size());
  }
  std::int64_t bits_of(std::size_t width) const {
    const auto bits = [&](Role role) {
      const VectorQuantizer& method = methods_.at(role, width);
      return 8 * static_cast<std::int64_t>(method.code_bytes(0) + method.scale_bytes(0));
    };
    if (bits(Role::keys) == bits(Role::values)) return bits(Role::keys);
    throw UnsupportedError("precompute",
                           fmt::format("keys take {} bits and values {} at a width of {}; a base "
                                       "method has one size for a width",
                                       bits(Role::keys), bits(Role::values), options_.widths[width]));
  }

  // The second narrowest width, where most groups end up near and what is measured stands clear of noise.
  static constexpr std::size_t kProbed = 1;

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
    const ProbeProgress progress{
        .begin =
            [&](std::size_t i) {
              step("sensitivity", fmt::format("group {} of {}", i + 1, probes.size() * probe_windows()));
            },
        .found = nullptr};
    return window_means(measure_probes(decoder_, std::span(request_.windows).first(probe_windows()), probes,
                                       methods_.keys.front()->frame(), request_.sinks, {}, progress),
                        probes.size());
  }

  ArtifactStore store(const GroupStatistics& statistics, const std::vector<double>& divergence) const {
    ArtifactStore store;
    write_settings(settings_, store);
    store.set_fact("probe_bits", std::to_string(options_.widths[kProbed]));
    store.set_fact("sinks", std::to_string(request_.sinks));
    store.set_fact("windows", std::to_string(request_.windows.size()));
    store.set_fact("sequence_length", std::to_string(request_.windows.front().size()));
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

  Decoder& decoder_;
  const CalibrationRequest& request_;
  const RatequantOptions& options_;
  RatequantSettings settings_;
  WidthMethods methods_;
  std::size_t done_ = 0, total_ = 0;
};

void check(const CalibrationRequest& request, const RatequantOptions& options) {
  require_calibration(request);
  const bool ascending =
      std::ranges::adjacent_find(options.widths, std::greater_equal()) == options.widths.end();
  if (options.widths.size() < 2 || !ascending) {
    throw ConfigError("precompute", fmt::format("widths of {} bits; it takes two or more, ascending",
                                                fmt::join(options.widths, ",")));
  }
  if (options.sensitivity == Sensitivity::none) {
    throw ConfigError("precompute",
                      "a sensitivity of none leaves method 'ratequant' nothing to weigh groups by");
  }
  if (options.sensitivity == Sensitivity::measured && options.sensitivity_windows < 1) {
    throw ConfigError("precompute", "weights cannot be measured on 0 windows");
  }
}

}  // namespace

ArtifactStore precompute_ratequant(Decoder& decoder, const CalibrationRequest& request,
                                   const RatequantOptions& options) {
  check(request, options);
  return RatequantPrecompute(decoder, request, options).run();
}

}  // namespace veloxquant
