// Plots as SVG text: points and lines in a plane, and bars.
//
// Colours are those of Okabe and Ito, which colour-blind readers can tell apart; methods differ in the shape of their
// marks too. Every mark carries its figures as a tooltip. Labels keep clear of marks, lines and each other; where
// there is no room close by, a thin line leads to them.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace veloxquant::cli {

// How a method looks in every plot: a colour a method, lighter from width to narrower width.
struct Paint {
  int colour = -1;  // -1: grey, for comparison
  int shade = 0;    // 0: the full colour
};

struct PlotPoint {
  double x = 0, y = 0;
  std::string label, detail;  // shown beside the mark; shown as its tooltip
  double error = 0;           // half the length of the whisker along y; 0: none
  int shade = 0;              // of the series' colour
};

struct PlotSeries {
  std::string name;
  std::vector<PlotPoint> points;  // in the order in which they are joined
  Paint paint{};
  bool dashed = false;  // predicted, not measured
  bool joined = true;   // by a line
};

// A level to compare with, across the whole plot; its label is in the legend.
struct PlotRule {
  double y = 0;
  std::string label;
};

struct Plot {
  std::string title, x_label, y_label;
  bool log_x = false, log_y = false;  // points that are not above zero are then left out
  bool name_ends = false;             // every series' name at its last point, in place of a legend
  // What y can be, as 0 and 1 of a share: whiskers end there.
  double least_y = -std::numeric_limits<double>::infinity(), most_y = std::numeric_limits<double>::infinity();
  std::vector<PlotSeries> series{};
  std::optional<PlotRule> rule{};
};

struct Bar {
  std::string label, detail;
  double value = 0, low = 0, high = 0;
  Paint paint{};
};

// Empty when no point can be drawn.
std::string svg(const Plot& plot);
std::string svg_bars(const std::string& title, const std::string& unit, const std::vector<Bar>& bars);

// The style that both expect: the classes of colours, lines and texts.
extern const char* const kPlotStyle;

// Text for HTML and SVG.
std::string escaped_html(const std::string& text);

}  // namespace veloxquant::cli
