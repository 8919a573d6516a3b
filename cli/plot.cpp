#include "plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace veloxquant::cli {
namespace {

constexpr double kWidth = 760, kHeight = 440, kLeft = 78, kRight = 24, kTop = 56, kBottom = 58;
constexpr double kCharacter = 6.4, kLine = 13;  // of labels

// Where something is drawn, for labels to keep clear of.
struct Box {
  double left, top, right, bottom;
  bool meets(const Box& o) const {
    return left < o.right && o.left < right && top < o.bottom && o.top < bottom;
  }
};

// From values to places along one side of the plot.
class Axis {
 public:
  Axis(bool logarithmic, double low, double high, double from, double to)
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
  double place(double value) const {
    const double v = logarithmic_ ? std::log10(value) : value;
    return from_ + (v - low_) / (high_ - low_) * (to_ - from_);
  }
  // Round numbers within the axis.
  std::vector<double> ticks() const {
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

 private:
  bool logarithmic_;
  double low_, high_, from_, to_;
};

std::string number(double value) {
  if (value >= 1e4) return fmt::format("{:g}K", value / 1e3);
  return value != 0 && value < 1e-3 ? fmt::format("{:.0e}", value) : fmt::format("{:g}", value);
}

std::string text_at(double x, double y, const char* anchor, const std::string& kind,
                    const std::string& text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" class=\"{}\">{}</text>\n", x, y,
                     anchor, kind, escaped_html(text));
}

std::string tooltip(const std::string& text) { return "<title>" + escaped_html(text) + "</title>"; }

std::string colour_of(const PlotSeries& series, std::size_t index) {
  return series.muted ? "muted" : fmt::format("s{}", index % 6);
}

std::string mark(std::size_t shape, double x, double y, const std::string& colour, bool hollow,
                 const std::string& detail) {
  constexpr double r = 5;
  const std::string kind = fmt::format("class=\"mark {}{}\"", colour, hollow ? " hollow" : "");
  switch (shape % 4) {
    case 0:
      return fmt::format("<circle {} cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\">{}</circle>\n", kind, x, y, r,
                         tooltip(detail));
    case 1:
      return fmt::format("<rect {} x=\"{:.1f}\" y=\"{:.1f}\" width=\"9\" height=\"9\">{}</rect>\n", kind,
                         x - 4.5, y - 4.5, tooltip(detail));
    case 2:
      return fmt::format("<path {} d=\"M{:.1f} {:.1f}l6 10h-12z\">{}</path>\n", kind, x, y - 6,
                         tooltip(detail));
    default:
      return fmt::format("<path {} d=\"M{:.1f} {:.1f}l6 6l-6 6l-6 -6z\">{}</path>\n", kind, x, y - 6,
                         tooltip(detail));
  }
}

class PlotWriter {
 public:
  explicit PlotWriter(const Plot& plot) : plot_(plot) {
    for (const PlotSeries& series : plot.series) {
      for (const PlotPoint& p : series.points) {
        if (!drawable(p)) continue;
        low_x_ = std::min(low_x_, p.x), high_x_ = std::max(high_x_, p.x);
        const double low = p.y - p.error;
        low_y_ = std::min(low_y_, plot.log_y && low <= 0 ? p.y : low),
        high_y_ = std::max(high_y_, p.y + p.error);
      }
    }
  }

  std::string write() {
    if (low_x_ > high_x_) return "";
    const Axis x(plot_.log_x, low_x_, high_x_, kLeft, kWidth - kRight),
        y(plot_.log_y, low_y_, high_y_, kHeight - kBottom, kTop);
    text_ = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n", kWidth, kHeight,
                        escaped_html(plot_.title));
    text_ += text_at(kLeft, 20, "start", "title", plot_.title);
    legend();
    axes(x, y);
    for (std::size_t i = 0; i < plot_.series.size(); ++i) lines(plot_.series[i], i, x, y);
    for (std::size_t i = 0; i < plot_.series.size(); ++i) marks(plot_.series[i], i, x, y);
    for (const PlotSeries& series : plot_.series) labels(series, x, y);
    return text_ + "</svg>\n";
  }

 private:
  bool drawable(const PlotPoint& p) const {
    return std::isfinite(p.x) && std::isfinite(p.y) && (!plot_.log_x || p.x > 0) && (!plot_.log_y || p.y > 0);
  }

  void legend() {
    double at = kLeft;
    for (std::size_t i = 0; i < plot_.series.size(); ++i) {
      const PlotSeries& series = plot_.series[i];
      const double width = 18 + kCharacter * static_cast<double>(series.name.size()) + 14;
      if (at + width > kWidth) break;  // the table names all
      text_ += mark(i, at + 5, 36, colour_of(series, i), series.dashed, series.name);
      text_ += text_at(at + 16, 40, "start", "legend", series.name);
      at += width;
    }
  }

  void axes(const Axis& x, const Axis& y) {
    const double bottom = kHeight - kBottom;
    for (const double tick : x.ticks()) {
      text_ += fmt::format("<path class=\"grid\" d=\"M{0:.1f} {1}V{2}\"/>\n", x.place(tick), kTop, bottom);
      text_ += text_at(x.place(tick), bottom + 18, "middle", "tick", number(tick));
    }
    for (const double tick : y.ticks()) {
      text_ +=
          fmt::format("<path class=\"grid\" d=\"M{} {:.1f}H{}\"/>\n", kLeft, y.place(tick), kWidth - kRight);
      text_ += text_at(kLeft - 8, y.place(tick) + 4, "end", "tick", number(tick));
    }
    text_ += fmt::format("<path class=\"axis\" d=\"M{} {}V{}H{}\"/>\n", kLeft, kTop, bottom, kWidth - kRight);
    text_ += text_at((kLeft + kWidth - kRight) / 2, kHeight - 14, "middle", "name", plot_.x_label);
    text_ += fmt::format(
        "<text transform=\"translate(16 {:.0f}) rotate(-90)\" text-anchor=\"middle\" "
        "class=\"name\">{}</text>\n",
        (kTop + bottom) / 2, escaped_html(plot_.y_label));
  }

  void lines(const PlotSeries& series, std::size_t index, const Axis& x, const Axis& y) {
    std::string path;
    for (const PlotPoint& p : series.points) {
      if (!drawable(p)) continue;
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x.place(p.x), y.place(p.y));
      if (p.error > 0) {
        const double low = plot_.log_y && p.y <= p.error ? p.y : p.y - p.error;
        text_ += fmt::format("<path class=\"whisker {}\" d=\"M{:.1f} {:.1f}V{:.1f}\"/>\n",
                             colour_of(series, index), x.place(p.x), y.place(low), y.place(p.y + p.error));
      }
    }
    if (!series.joined) return;
    text_ += fmt::format("<path class=\"line {}{}\" d=\"{}\"/>\n", colour_of(series, index),
                         series.dashed ? " dashed" : "", path);
  }

  void marks(const PlotSeries& series, std::size_t index, const Axis& x, const Axis& y) {
    for (const PlotPoint& p : series.points) {
      if (!drawable(p)) continue;
      const double at_x = x.place(p.x), at_y = y.place(p.y);
      text_ += mark(index, at_x, at_y, colour_of(series, index), series.dashed, p.detail);
      taken_.push_back({at_x - 6, at_y - 6, at_x + 6, at_y + 6});
    }
  }

  // Right of the mark, left of it, above or below: the first place that is free.
  void labels(const PlotSeries& series, const Axis& x, const Axis& y) {
    for (const PlotPoint& p : series.points) {
      if (!drawable(p) || p.label.empty()) continue;
      const double at_x = x.place(p.x), at_y = y.place(p.y),
                   width = kCharacter * static_cast<double>(p.label.size());
      const auto box = [&](double left, double base) {
        return Box{left, base - kLine + 2, left + width, base + 3};
      };
      for (const Box& place : {box(at_x + 9, at_y + 4), box(at_x - 9 - width, at_y + 4),
                               box(at_x - width / 2, at_y - 10), box(at_x - width / 2, at_y + 19)}) {
        const bool inside = place.left >= kLeft && place.right <= kWidth - 2 && place.top >= kTop - 8 &&
                            place.bottom <= kHeight - kBottom;
        if (!inside || std::ranges::any_of(taken_, [&](const Box& b) { return b.meets(place); })) continue;
        text_ += text_at(place.left, place.bottom - 3, "start", "label", p.label);
        taken_.push_back(place);
        break;
      }
    }
  }

  const Plot& plot_;
  static constexpr double kFar = std::numeric_limits<double>::infinity();
  double low_x_ = kFar, high_x_ = -kFar, low_y_ = kFar, high_y_ = -kFar;
  std::string text_;
  std::vector<Box> taken_;
};

}  // namespace

std::string escaped_html(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string svg(const Plot& plot) { return PlotWriter(plot).write(); }

std::string svg_bars(const std::string& title, const std::string& unit, const std::vector<Bar>& bars) {
  double most = 0;
  std::size_t longest = 0;
  for (const Bar& bar : bars) {
    most = std::max({most, bar.value, bar.high});
    longest = std::max(longest, bar.label.size());
  }
  if (!(most > 0)) return "";
  constexpr double kRow = 26;
  const double left = 20 + 7.2 * static_cast<double>(longest), right = 110,
               height = 40 + kRow * static_cast<double>(bars.size());
  std::string text = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n", kWidth,
                                 height, escaped_html(title)) +
                     text_at(8, 20, "start", "title", title);
  double y = 34;
  for (const Bar& bar : bars) {
    const auto place = [&](double value) { return left + value / most * (kWidth - left - right); };
    text += text_at(left - 8, y + 15, "end", "tick", bar.label);
    text += fmt::format(
        "<rect class=\"bar {}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"18\">{}</rect>\n",
        bar.muted ? "muted" : "s0", left, y + 2, place(bar.value) - left, tooltip(bar.detail));
    if (bar.high > bar.low) {
      text += fmt::format("<path class=\"whisker axis\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>\n", place(bar.low),
                          y + 11, place(bar.high));
    }
    text += text_at(place(std::max(bar.value, bar.high)) + 8, y + 15, "start", "tick",
                    fmt::format("{:.4g} {}", bar.value, unit));
    y += kRow;
  }
  return text + "</svg>\n";
}

}  // namespace veloxquant::cli
