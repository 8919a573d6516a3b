// Plots as SVG text: points and lines in a plane, and bars.
//
// Colours are those of Okabe and Ito, which colour-blind readers can tell apart; series differ in the shape of their
// marks too. Every mark carries its figures as a tooltip. Labels that would lie over others are left out; the legend
// and the tooltips still name the point.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace veloxquant::cli {

struct PlotPoint {
  double x = 0, y = 0;
  std::string label, detail;  // shown beside the mark; shown as its tooltip
  double error = 0;           // half the length of the whisker along y; 0: none
};

struct PlotSeries {
  std::string name;
  std::vector<PlotPoint> points;  // in the order in which they are joined
  bool muted = false;             // for comparison: grey
  bool dashed = false;            // predicted or computed, not measured
  bool joined = true;             // by a line
};

struct Plot {
  std::string title, x_label, y_label;
  bool log_x = false, log_y = false;  // points that are not above zero are then left out
  std::vector<PlotSeries> series;
};

struct Bar {
  std::string label, detail;
  double value = 0, low = 0, high = 0;
  bool muted = false;
};

// Empty when no point can be drawn.
std::string svg(const Plot& plot);
std::string svg_bars(const std::string& title, const std::string& unit, const std::vector<Bar>& bars);

// Text for HTML and SVG.
std::string escaped_html(const std::string& text);

}  // namespace veloxquant::cli
