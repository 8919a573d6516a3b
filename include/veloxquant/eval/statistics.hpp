// How repeated measurements are summed up in reports.
#pragma once

#include <optional>
#include <span>

namespace veloxquant {

// A mean with its standard error: the sample's standard deviation / sqrt(count). Fewer than two values have
// no standard error, and none at all have no mean.
struct MeanEstimate {
  std::optional<double> mean, standard_error;
};
MeanEstimate estimate(std::span<const double> values);

// The middle and the ends of a few runs.
struct Spread {
  double median = 0, min = 0, max = 0;
};
// Nothing for an empty span.
std::optional<Spread> spread(std::span<const double> values);

}  // namespace veloxquant
