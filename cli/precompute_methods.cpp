#include "precompute_methods.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <memory>
#include <veloxquant/core/error.hpp>

#include "calibration/model_groups.hpp"

namespace veloxquant::cli {
namespace {

using Flags = PrecomputeFlags;
using Request = CalibrationRequest;

std::int64_t frame_of(const std::string& text) {
  if (text == "none") return 0;
  std::int64_t frame = 0;
  if (!CLI::detail::lexical_cast(text, frame) || frame < 1) {
    throw ConfigError("precompute", fmt::format("--frame {}; it is a number of tokens, or none", text));
  }
  return frame;
}

SpectralOptions spectral_options(const Flags& f) {
  return {.frame = frame_of(f.frame),
          .metric = key_metric_from(f.metric),
          .sensitivity = sensitivity_from(f.sensitivity),
          .code = run_code_from(f.code),
          .gain = f.gain == "on"};
}

RatequantOptions ratequant_options(const Flags& f) {
  return {.base = f.base, .widths = f.widths, .sensitivity = sensitivity_from(f.sensitivity)};
}

std::shared_ptr<ThreadPool> pool_of(const Flags& f) { return std::make_shared<ThreadPool>(f.threads); }

}  // namespace

const std::vector<CalibratedMethod>& calibrated_methods() {
  static const std::vector<CalibratedMethod> kMethods = {
      {.name = "spectral",
       .flags = {"--target-bits", "--frame", "--metric", "--sensitivity", "--code", "--gain", "--seed"},
       .resumes = true,
       .run = [](Decoder& decoder, const Request& request,
                 const Flags& f) { return precompute_spectral(decoder, request, spectral_options(f)); },
       .needs = [](const ModelConfig& model, const Request& request,
                   const Flags& f) { return spectral_needs(model, request, spectral_options(f)); },
       .run_on =
           [](const ActivationFile& file, const Request& request, const Flags& f) {
             return precompute_spectral(file, request, spectral_options(f), pool_of(f));
           },
       .needs_on = [](const ActivationFile& file,
                      const Flags& f) { return spectral_needs(file, spectral_options(f)); }},
      {.name = "ratequant",
       .flags = {"--target-bits", "--base", "--widths", "--sensitivity"},
       .resumes = true,
       .run = [](Decoder& decoder, const Request& request,
                 const Flags& f) { return precompute_ratequant(decoder, request, ratequant_options(f)); },
       .needs = [](const ModelConfig& model, const Request& request,
                   const Flags& f) { return ratequant_needs(model, request, ratequant_options(f)); },
       .run_on =
           [](const ActivationFile& file, const Request& request, const Flags& f) {
             return precompute_ratequant(file, request, ratequant_options(f), pool_of(f));
           },
       .needs_on = [](const ActivationFile& file,
                      const Flags& f) { return ratequant_needs(file, ratequant_options(f)); }},
      {.name = kMeanMethod,
       .flags = {},
       .resumes = true,
       .run = [](Decoder& decoder, const Request& request,
                 const Flags&) { return precompute_means(decoder, request); },
       .needs = [](const ModelConfig& model, const Request& request,
                   const Flags&) { return means_needs(model, request); },
       .run_on = [](const ActivationFile& file, const Request& request,
                    const Flags& f) { return precompute_means(file, request, pool_of(f)); },
       .needs_on = [](const ActivationFile& file, const Flags&) { return means_needs(file); }},
      {.name = "vecinfer",
       .flags = {"--smoothing", "--seed"},
       .resumes = false,
       .run =
           [](Decoder& decoder, const Request& request, const Flags& f) {
             return precompute_vecinfer(decoder, request, smoothing_from(f.smoothing));
           },
       .needs = [](const ModelConfig& model, const Request& request,
                   const Flags&) { return vecinfer_needs(model, request); },
       .run_on =
           [](const ActivationFile& file, const Request& request, const Flags& f) {
             return precompute_vecinfer(file, request, smoothing_from(f.smoothing), pool_of(f));
           },
       .needs_on = [](const ActivationFile& file, const Flags&) { return vecinfer_needs(file); }},
  };
  return kMethods;
}

}  // namespace veloxquant::cli
