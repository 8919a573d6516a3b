#include <fmt/format.h>

#include <array>
#include <string>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/precompute.hpp>

namespace veloxquant {
namespace {

template <class Enum, std::size_t N>
Enum from_name(const std::string& name, const std::array<Enum, N>& values, const char* what) {
  for (const Enum value : values) {
    if (name == to_string(value)) return value;
  }
  throw ConfigError("precompute", fmt::format("unknown {} '{}'", what, name));
}

}  // namespace

const char* to_string(KeyMetric metric) noexcept {
  switch (metric) {
    case KeyMetric::output:
      return "output";
    case KeyMetric::query:
      return "query";
    case KeyMetric::identity:
      return "identity";
  }
  return "unknown";
}

const char* to_string(Sensitivity sensitivity) noexcept {
  switch (sensitivity) {
    case Sensitivity::measured:
      return "measured";
    case Sensitivity::proxy:
      return "proxy";
    case Sensitivity::none:
      return "none";
  }
  return "unknown";
}

const char* to_string(Smoothing smoothing) noexcept {
  switch (smoothing) {
    case Smoothing::balanced:
      return "balanced";
    case Smoothing::keys:
      return "keys";
    case Smoothing::none:
      return "none";
  }
  return "unknown";
}

Smoothing smoothing_from(const std::string& name) {
  return from_name(name, std::array{Smoothing::balanced, Smoothing::keys, Smoothing::none}, "smoothing");
}

KeyMetric key_metric_from(const std::string& name) {
  return from_name(name, std::array{KeyMetric::output, KeyMetric::query, KeyMetric::identity}, "metric");
}

Sensitivity sensitivity_from(const std::string& name) {
  return from_name(name, std::array{Sensitivity::measured, Sensitivity::proxy, Sensitivity::none},
                   "sensitivity");
}

void require_calibration(const CalibrationRequest& request) {
  if (request.windows.empty()) throw ConfigError("precompute", "there is no calibration text");
  if (request.sinks < 0) {
    throw ConfigError("precompute", fmt::format("{} sinks; it is 0 or more", request.sinks));
  }
}

}  // namespace veloxquant
