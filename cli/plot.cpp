#include "plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "plot_axis.hpp"
#include "plot_labels.hpp"

namespace veloxquant::cli {

const char* const kPlotStyle = R"(
svg { width: 100%; height: auto; overflow: visible; }
.title { font-size: 15px; font-weight: 600; fill: var(--ink); } .name, .tick, .legend { font-size: 13px; fill: var(--soft); }
.label { font-size: 12px; fill: var(--ink); }
.grid { stroke: var(--rule); stroke-width: 1; } .axis { stroke: var(--soft); fill: none; }
.line { fill: none; stroke: currentColor; stroke-width: 1.5; opacity: .7; } .dashed { stroke-dasharray: 5 4; }
.whisker { stroke: currentColor; stroke-width: 1.5; } .rule { stroke: var(--soft); stroke-dasharray: 2 4; }
.leader { fill: none; stroke: var(--soft); stroke-width: .6; }
.mark, .bar { fill: currentColor; stroke: currentColor; } .hollow { fill: var(--ground); stroke-width: 1.5; }
.c0 { --c: #0072b2; } .c1 { --c: #d55e00; } .c2 { --c: #009e73; } .c3 { --c: #cc79a7; } .c4 { --c: #e69f00; } .c5 { --c: #56b4e9; }
.w0, .w1, .w2, .w3 { color: var(--c); } .grey { color: var(--grey); }
@supports (color: color-mix(in srgb, red, blue)) {
  .w1 { color: color-mix(in srgb, var(--c) 80%, var(--ground)); } .w2 { color: color-mix(in srgb, var(--c) 64%, var(--ground)); }
  .w3 { color: color-mix(in srgb, var(--c) 50%, var(--ground)); }
}
)";

namespace {

constexpr double kWidth = 640, kHeight = 430, kLeft = 74, kBottom = 56;
constexpr double kCharacter = 6.7, kLine = 14;  // of labels
constexpr std::size_t kLongestName = 26;        // characters; the rest is in the tooltip

// Characters, not bytes, for the room that a text takes.
double width_of(const std::string& text) {
  return kCharacter * static_cast<double>(std::ranges::count_if(
                          text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string shortened(const std::string& text) {
  return text.size() <= kLongestName ? text : text.substr(0, kLongestName - 1) + "…";
}

std::string tooltip(const std::string& text) { return "<title>" + escaped_html(text) + "</title>"; }

std::string text_at(double x, double y, const char* anchor, const std::string& kind, const std::string& text,
                    const std::string& detail = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" class=\"{}\">{}{}</text>\n", x, y,
                     anchor, kind, escaped_html(text), detail.empty() ? "" : tooltip(detail));
}

std::string classes_of(const Paint& paint) {
  return paint.colour < 0 ? "grey" : fmt::format("c{} w{}", paint.colour % 6, std::clamp(paint.shade, 0, 3));
}

std::string line_between(const char* kind, const Segment& s) {
  return fmt::format("<path class=\"{}\" d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\"/>\n", kind, s.x0, s.y0, s.x1,
                     s.y1);
}

std::string mark(const Paint& paint, double x, double y, bool hollow, const std::string& detail) {
  constexpr double r = 5;
  const std::string kind = fmt::format("class=\"mark {}{}\"", classes_of(paint), hollow ? " hollow" : "");
  switch (std::max(0, paint.colour) % 4) {
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
    double longest = 0;
    for (const PlotSeries& series : plot.series) {
      longest = std::max(longest, width_of(shortened(series.name)));
      for (const PlotPoint& p : series.points) {
        if (!drawable(p)) continue;
        low_x_ = std::min(low_x_, p.x), high_x_ = std::max(high_x_, p.x);
        low_y_ = std::min(low_y_, low_end(p)), high_y_ = std::max(high_y_, high_end(p));
      }
    }
    if (plot.rule && low_x_ <= high_x_)
      low_y_ = std::min(low_y_, plot.rule->y), high_y_ = std::max(high_y_, plot.rule->y);
    if (plot.name_ends) {
      right_ = kWidth - longest - 32;
      height_ = std::max(kHeight, top_ + kBottom + kLine * static_cast<double>(plot.series.size()));
    }
  }

  std::string write() {
    if (low_x_ > high_x_) return "";
    std::string legend_text;
    if (!plot_.name_ends) legend_text = legend();
    const Axis x(plot_.log_x, low_x_, high_x_, kLeft, right_),
        y(plot_.log_y, low_y_, high_y_, height_ - kBottom, top_);
    text_ = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n", kWidth, height_,
                        escaped_html(plot_.title));
    text_ += text_at(8, 18, "start", "title", plot_.title) + legend_text;
    axes(x, y);
    LabelRoom room({kLeft, top_ - 8, kWidth - 2, height_ - kBottom});
    if (plot_.rule) rule(y, room);
    for (const PlotSeries& series : plot_.series) lines(series, x, y, room);
    for (const PlotSeries& series : plot_.series) marks(series, x, y, room);
    if (plot_.name_ends)
      names_at_ends(x, y);
    else
      for (const PlotSeries& series : plot_.series) labels(series, x, y, room);
    return text_ + "</svg>\n";
  }

 private:
  bool drawable(const PlotPoint& p) const {
    return std::isfinite(p.x) && std::isfinite(p.y) && (!plot_.log_x || p.x > 0) && (!plot_.log_y || p.y > 0);
  }

  // Of a point's whisker. A logarithm has no place for what is not above zero: nothing is drawn below the
  // mark.
  double low_end(const PlotPoint& p) const {
    const double low = std::max(plot_.least_y, p.y - p.error);
    return plot_.log_y && low <= 0 ? p.y : low;
  }
  double high_end(const PlotPoint& p) const { return std::min(plot_.most_y, p.y + p.error); }

  // In as many lines as it takes; the plot begins below.
  std::string legend() {
    std::string text;
    double at = 12, y = 40;
    const auto entry = [&](const std::string& name, auto sample) {
      const std::string shown = shortened(name);
      const double width = 34 + 1.08 * width_of(shown);
      if (at > 12 && at + width > kWidth) at = 12, y += 20;
      text += sample(at, y - 4);
      text += text_at(at + 16, y, "start", "legend", shown, shown == name ? "" : name);
      at += width;
    };
    for (const PlotSeries& series : plot_.series) {
      entry(series.name, [&](double left, double middle) {
        return mark(series.paint, left + 5, middle, series.dashed, series.name);
      });
    }
    if (plot_.rule) {
      entry(plot_.rule->label, [](double left, double middle) {
        return line_between("rule", {left - 6, middle, left + 12, middle});
      });
    }
    top_ = y + 20;
    return text;
  }

  void axes(const Axis& x, const Axis& y) {
    const double bottom = height_ - kBottom;
    for (const double tick : x.ticks()) {
      text_ += line_between("grid", {x.place(tick), top_, x.place(tick), bottom});
      text_ += text_at(x.place(tick), bottom + 18, "middle", "tick", axis_number(tick));
    }
    for (const double tick : y.ticks()) {
      text_ += line_between("grid", {kLeft, y.place(tick), right_, y.place(tick)});
      text_ += text_at(kLeft - 8, y.place(tick) + 4, "end", "tick", axis_number(tick));
    }
    text_ +=
        fmt::format("<path class=\"axis\" d=\"M{} {:.1f}V{:.1f}H{:.1f}\"/>\n", kLeft, top_, bottom, right_);
    text_ += text_at((kLeft + right_) / 2, height_ - 12, "middle", "name", plot_.x_label);
    text_ += fmt::format(
        "<text transform=\"translate(14 {:.0f}) rotate(-90)\" text-anchor=\"middle\" "
        "class=\"name\">{}</text>\n",
        (top_ + bottom) / 2, escaped_html(plot_.y_label));
  }

  void rule(const Axis& y, LabelRoom& room) {
    const Segment line{kLeft, y.place(plot_.rule->y), right_, y.place(plot_.rule->y)};
    text_ += line_between("rule", line);
    room.take(line);
  }

  void lines(const PlotSeries& series, const Axis& x, const Axis& y, LabelRoom& room) {
    std::string path;
    const PlotPoint* before = nullptr;
    for (const PlotPoint& p : series.points) {
      if (!drawable(p)) continue;
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x.place(p.x), y.place(p.y));
      if (p.error > 0) {
        const Segment whisker{x.place(p.x), y.place(low_end(p)), x.place(p.x), y.place(high_end(p))};
        const std::string kind = "whisker " + classes_of({series.paint.colour, p.shade});
        text_ += line_between(kind.c_str(), whisker);
        room.take(whisker);
      }
      if (before != nullptr && series.joined)
        room.take(Segment{x.place(before->x), y.place(before->y), x.place(p.x), y.place(p.y)});
      before = &p;
    }
    if (!series.joined) return;
    text_ += fmt::format("<path class=\"line {}{}\" d=\"{}\"/>\n", classes_of(series.paint),
                         series.dashed ? " dashed" : "", path);
  }

  void marks(const PlotSeries& series, const Axis& x, const Axis& y, LabelRoom& room) {
    for (const PlotPoint& p : series.points) {
      if (!drawable(p)) continue;
      const double at_x = x.place(p.x), at_y = y.place(p.y);
      text_ += mark({series.paint.colour, p.shade}, at_x, at_y, series.dashed, p.detail);
      room.take(Box{at_x - 6, at_y - 6, at_x + 6, at_y + 6});
    }
  }

  void labels(const PlotSeries& series, const Axis& x, const Axis& y, LabelRoom& room) {
    for (const PlotPoint& p : series.points) {
      if (!drawable(p) || p.label.empty()) continue;
      const std::string label = shortened(p.label);
      const double at_x = x.place(p.x), at_y = y.place(p.y);
      const auto place = room.find(at_x, at_y, width_of(label), kLine);
      if (!place) continue;
      const double near_x = std::clamp(at_x, place->left, place->right),
                   near_y = std::clamp(at_y, place->top, place->bottom);
      if (std::hypot(near_x - at_x, near_y - at_y) > 16)
        text_ += line_between("leader", {at_x, at_y, near_x, near_y});
      text_ += text_at(place->left, place->bottom - 3, "start", "label", label, p.detail);
      room.take(*place);
    }
  }

  // One below the other right of the plot, each as close to its line's end as the others let it.
  void names_at_ends(const Axis& x, const Axis& y) {
    struct End {
      const PlotSeries* series;
      double x, y, label_y;
    };
    std::vector<End> ends;
    for (const PlotSeries& series : plot_.series) {
      if (series.points.empty() || !drawable(series.points.back())) continue;
      const double at = y.place(series.points.back().y);
      ends.push_back({&series, x.place(series.points.back().x), at, at});
    }
    std::ranges::stable_sort(ends, {}, &End::y);
    for (std::size_t i = 1; i < ends.size(); ++i)
      ends[i].label_y = std::max(ends[i].label_y, ends[i - 1].label_y + kLine);
    double limit = height_ - kBottom;
    for (auto end = ends.rbegin(); end != ends.rend(); ++end) {
      end->label_y = std::min(end->label_y, limit);
      limit = end->label_y - kLine;
    }
    for (const End& end : ends) {
      const double left = right_ + 26;
      text_ += line_between("leader", {end.x + 7, end.y, left - 3, end.label_y});
      text_ += text_at(left, end.label_y + 4, "start", "label", shortened(end.series->name),
                       end.series->points.back().detail);
    }
  }

  const Plot& plot_;
  static constexpr double kFar = std::numeric_limits<double>::infinity();
  double low_x_ = kFar, high_x_ = -kFar, low_y_ = kFar, high_y_ = -kFar;
  double top_ = 36, right_ = kWidth - 24, height_ = kHeight;
  std::string text_;
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
  double most = 0, longest = 0;
  for (const Bar& bar : bars) {
    most = std::max({most, bar.value, bar.high});
    longest = std::max(longest, width_of(shortened(bar.label)));
  }
  if (!(most > 0)) return "";
  constexpr double kRow = 26;
  const double left = 20 + 1.08 * longest, right = 110, height = 40 + kRow * static_cast<double>(bars.size());
  std::string text = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n", kWidth,
                                 height, escaped_html(title)) +
                     text_at(8, 18, "start", "title", title);
  double y = 34;
  for (const Bar& bar : bars) {
    const auto place = [&](double value) { return left + value / most * (kWidth - left - right); };
    text += text_at(left - 8, y + 15, "end", "tick", shortened(bar.label), bar.detail);
    text += fmt::format(
        "<rect class=\"bar {}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"18\">{}</rect>\n",
        classes_of(bar.paint), left, y + 2, place(bar.value) - left, tooltip(bar.detail));
    if (bar.high > bar.low)
      text += line_between("whisker axis", {place(bar.low), y + 11, place(bar.high), y + 11});
    text += text_at(
        place(std::max(bar.value, bar.high)) + 8, y + 15, "start", "tick",
        fmt::format("{} {}",
                    bar.value < 100 ? fmt::format("{:.3g}", bar.value) : fmt::format("{:.0f}", bar.value),
                    unit));
    y += kRow;
  }
  return text + "</svg>\n";
}

}  // namespace veloxquant::cli
