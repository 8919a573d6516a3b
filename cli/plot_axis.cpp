#include "plot_axis.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace veloxquant::cli {

Axis::Axis(bool logarithmic, double low, double high, double from, double to)
    : logarithmic_(logarithmic), low_(low), high_(high), from_(from), to_(to) {
  if (logarithmic_) {
    low_ = std::log10(low_), high_ = std::log10(high_);
    const double margin = std::max(0.05, 0.06 * (high_ - low_));
    low_ -= margin, high_ += margin;
  } else {
    const double margin = high_ > low_ ? 0.06 * (high_ - low_) : std::max(0.5, 0.1 * std::fabs(high_));
    low_ = low_ >= 0 ? std::max(0.0, low_ - margin) : low_ - margin;
    high_ += margin;
  }
}

double Axis::place(double value) const {
  const double v = logarithmic_ ? std::log10(value) : value;
  return from_ + (v - low_) / (high_ - low_) * (to_ - from_);
}

std::vector<double> Axis::ticks() const {
  std::vector<double> result = round_numbers();
  if (result.size() >= 2) return result;
  return logarithmic_ ? std::vector<double>{std::pow(10.0, low_), std::pow(10.0, high_)}
                      : std::vector<double>{low_, high_};
}

std::vector<double> Axis::round_numbers() const {
  std::vector<double> result;
  if (logarithmic_) {
    const double decades = high_ - low_;
    const std::vector<double> digits = decades < 1.4   ? std::vector<double>{1, 2, 3, 4, 6, 8}
                                       : decades < 2.5 ? std::vector<double>{1, 2, 5}
                                                       : std::vector<double>{1};
    for (int decade = static_cast<int>(std::floor(low_)); decade <= static_cast<int>(std::ceil(high_));
         ++decade) {
      for (const double digit : digits) {
        const double value = digit * std::pow(10.0, decade), at = std::log10(value);
        if (at >= low_ && at <= high_) result.push_back(value);
      }
    }
    return result;
  }
  const double raw = (high_ - low_) / 6, power = std::pow(10.0, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double digit : {1.0, 2.0, 5.0}) {
    if (digit * power >= raw) {
      step = digit * power;
      break;
    }
  }
  for (double value = std::ceil(low_ / step) * step; value <= high_; value += step)
    result.push_back(std::fabs(value) < step / 2 ? 0 : value);
  return result;
}

std::string axis_number(double value) {
  if (value >= 1e6) return fmt::format("{:.3g}M", value / 1e6);
  if (value >= 9999.5) return fmt::format("{:.3g}K", value / 1e3);
  if (value == 0 || value >= 1e-4) return fmt::format("{:.4g}", value);
  if (value >= 9.9e-6) {
    std::string text = fmt::format("{:.6f}", value);
    while (text.ends_with('0')) text.pop_back();
    return text;
  }
  static constexpr const char* kRaised[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  const int power = static_cast<int>(std::floor(std::log10(value) + 1e-9));
  std::string text = fmt::format("{:.2g}·10⁻", value / std::pow(10.0, power));
  if (text.starts_with("1·")) text.erase(0, std::string("1·").size());
  for (const char digit : std::to_string(-power)) text += kRaised[digit - '0'];
  return text;
}

}  // namespace veloxquant::cli
