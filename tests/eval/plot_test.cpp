// The plots of the report page: axes, and room for labels.
#include "../../cli/plot.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>

#include "../../cli/plot_axis.hpp"
#include "../../cli/plot_labels.hpp"

namespace veloxquant::cli {
namespace {

using testing::HasSubstr;

TEST(Axis, HasTwoTicksOrMore) {
  for (const bool logarithmic : {true, false}) {
    for (const double low : {1e-6, 0.049, 0.9, 5.0, 9.1, 70.0, 131072.0}) {
      for (const double factor : {1.0, 1.001, 1.1, 2.0, 50.0, 1e5}) {
        const Axis axis(logarithmic, low, low * factor, 0, 100);
        const auto ticks = axis.ticks();
        ASSERT_GE(ticks.size(), 2u) << logarithmic << " " << low << " " << factor;
        for (const double tick : ticks) {
          EXPECT_GE(axis.place(tick), -1e-9);
          EXPECT_LE(axis.place(tick), 100 + 1e-9);
        }
      }
    }
  }
}

TEST(Axis, NumbersAreReadable) {
  EXPECT_EQ(axis_number(0), "0");
  EXPECT_EQ(axis_number(512), "512");
  EXPECT_EQ(axis_number(1024), "1024");
  EXPECT_EQ(axis_number(131072), "131K");
  EXPECT_EQ(axis_number(2e6), "2M");
  EXPECT_EQ(axis_number(0.001), "0.001");
  EXPECT_EQ(axis_number(1e-4), "0.0001");
  EXPECT_EQ(axis_number(2e-5), "0.00002");
  EXPECT_EQ(axis_number(1e-6), "10⁻⁶");
  EXPECT_EQ(axis_number(2e-12), "2·10⁻¹²");
}

TEST(LabelRoom, KeepsClearOfMarksAndLines) {
  LabelRoom room({0, 0, 400, 200});
  EXPECT_DOUBLE_EQ(room.find(100, 100, 50, 14)->left, 109) << "right of the mark";
  const Segment line{0, 100, 400, 100};
  room.take(line);
  const auto place = room.find(100, 100, 50, 14);
  ASSERT_TRUE(place);
  EXPECT_FALSE(meets(*place, line));
  room.take(Box{0, 0, 400, 200});
  EXPECT_FALSE(room.find(100, 100, 50, 14)) << "there is no room";
}

TEST(LabelRoom, ALineMeetsABoxThatItCrosses) {
  const Box box{10, 10, 20, 20};
  EXPECT_TRUE(meets(box, {0, 15, 30, 15}));
  EXPECT_TRUE(meets(box, {15, 0, 15, 30}));
  EXPECT_TRUE(meets(box, {0, 5, 30, 25}));
  EXPECT_TRUE(meets(box, {12, 12, 13, 13})) << "inside";
  EXPECT_FALSE(meets(box, {0, 0, 9, 30}));
  EXPECT_FALSE(meets(box, {0, 22, 40, 18})) << "below its left, right of its right";
  EXPECT_FALSE(meets(box, {0, 0, 5, 5})) << "ends before it";
}

TEST(Bars, LongLabelsAreCutAndHaveAWidth) {
  const std::string name(300, 'm');
  const std::string text =
      svg_bars("speed", "tokens/s", {{name, name + ": 3", 3, 2, 4, {}}, {"b", "b: 0", 0, 0, 0, {}}});
  EXPECT_EQ(text.find("width=\"-"), std::string::npos) << "bars have no negative width";
  EXPECT_THAT(text, HasSubstr(std::string(25, 'm') + "…"));
  EXPECT_THAT(text, HasSubstr("<title>" + name));
}

TEST(Bars, FiguresAreReadable) {
  const std::string text =
      svg_bars("speed", "tokens/s", {{"a", "", 1234.5, 0, 0, {}}, {"b", "", 9.876, 0, 0, {}}});
  EXPECT_THAT(text, HasSubstr("1234 tokens/s"));
  EXPECT_THAT(text, HasSubstr("9.88 tokens/s"));
}

TEST(Plots, AreLeftOutWithoutAPoint) {
  EXPECT_EQ(svg({.title = "none", .x_label = "x", .y_label = "y"}), "");
  PlotSeries series{.name = "a", .points = {{0, 1, "", ""}}};
  EXPECT_EQ(svg({.title = "no logarithm", .x_label = "x", .y_label = "y", .log_x = true, .series = {series}}),
            "");
  EXPECT_EQ(svg_bars("none", "tokens/s", {}), "");
}

// The ends of the only whisker: "M74.0 36.0L74.0 120.0", larger numbers further down.
std::pair<double, double> whisker(const Plot& plot) {
  const std::string text = svg(plot);
  const std::size_t at = text.find("class=\"whisker");
  double x = 0, from = 0, to = 0;
  EXPECT_EQ(std::sscanf(text.c_str() + text.find("d=\"", at), "d=\"M%lf %lfL%lf %lf\"", &x, &from, &x, &to),
            4)
      << text;
  return {from, to};
}

TEST(Plots, WhiskersEndWhereYDoes) {
  const auto share = [](double y) {
    return Plot{.title = "recall",
                .x_label = "x",
                .y_label = "y",
                .least_y = 0,
                .most_y = 1,
                .series = {{.name = "a", .points = {{1, y, "", "", 0.2}}, .joined = false}}};
  };
  // The whisker ends where marks at its ends would stand in a plot of the same scale.
  for (const double y : {0.0, 0.1, 0.5, 0.9, 1.0}) {
    Plot plot = share(y);
    plot.rule = PlotRule{y < 0.5 ? 1.0 : 0.0, "the other end"};
    const auto [low, high] = whisker(plot);
    plot.series[0].points[0].error = 0;
    plot.series[0].points.push_back(plot.series[0].points[0]);
    plot.series[0].points[0].y = std::max(0.0, y - 0.2);
    plot.series[0].points[1].y = std::min(1.0, y + 0.2);
    const std::string text = svg(plot);
    EXPECT_THAT(text, HasSubstr(fmt::format("cy=\"{:.1f}\"", low))) << y;
    EXPECT_THAT(text, HasSubstr(fmt::format("cy=\"{:.1f}\"", high))) << y;
  }
}

TEST(Plots, SeriesKeepTheirPaint) {
  PlotSeries series{
      .name = "a", .points = {{1, 1, "low", "", 0, 1}, {2, 2, "high", "", 0, 0}}, .paint = {2, 0}};
  const std::string text = svg(
      {.title = "two", .x_label = "x", .y_label = "y", .series = {series}, .rule = PlotRule{3, "level: 3"}});
  EXPECT_THAT(text, HasSubstr("mark c2 w1"));
  EXPECT_THAT(text, HasSubstr("mark c2 w0"));
  EXPECT_THAT(text, HasSubstr("level: 3"));
}

}  // namespace
}  // namespace veloxquant::cli
