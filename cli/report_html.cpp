// The report as a page that stands alone: a table, and plots of quality against true bits, of memory against the
// context and of speed. No script and nothing from elsewhere.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "plot.hpp"
#include "report.hpp"

namespace veloxquant::cli {
namespace {

constexpr const char* kStyle = R"(
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --rule: #d0d7de; --ground: #fff; --grey: #8b949e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9ba5b0; --rule: #3a424b; --ground: #12161b; --grey: #7d8590; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 2rem auto; padding: 0 1rem; max-width: 68rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(28rem, 1fr)); gap: 1.5rem; }
svg { width: 100%; height: auto; overflow: visible; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; font-size: .9rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--rule); text-align: right; } th:first-child, td:first-child { text-align: left; }
th { color: var(--soft); font-weight: 600; } tr.baseline td { color: var(--soft); }
dt { font-weight: 600; margin-top: .5rem; } dd { margin: 0; color: var(--soft); overflow-wrap: anywhere; }
.title { font-size: 15px; font-weight: 600; fill: var(--ink); } .name, .tick, .legend, .label { font-size: 12px; fill: var(--soft); }
.label { font-size: 11px; fill: var(--ink); }
.grid { stroke: var(--rule); stroke-width: 1; } .axis { stroke: var(--soft); fill: none; }
.line { fill: none; stroke: currentColor; stroke-width: 1.5; opacity: .6; } .dashed { stroke-dasharray: 5 4; } .whisker { stroke: currentColor; stroke-width: 1.5; }
.mark, .bar { fill: currentColor; stroke: currentColor; } .hollow { fill: var(--ground); stroke-width: 1.5; }
.s0 { color: #0072b2; } .s1 { color: #d55e00; } .s2 { color: #009e73; } .s3 { color: #cc79a7; } .s4 { color: #e69f00; } .s5 { color: #56b4e9; }
.muted { color: var(--grey); }
)";

// Rows that differ in their widths only are one series: "trellis", "turboquant_mse:scale=one".
std::string series_name(const MethodResult& r) {
  const auto without_bits = [](const MethodSpec& spec) {
    const std::string text = spec.to_string();
    const std::size_t first = text.find(':');
    if (first == std::string::npos) return text;
    const std::size_t second = text.find(':', first + 1);
    return text.substr(0, first) + (second == std::string::npos ? "" : text.substr(second));
  };
  const std::string keys = without_bits(r.method.keys), values = without_bits(r.method.values);
  return keys == values ? keys : keys + "/" + values;
}

std::string detail(const MethodResult& r) {
  std::string text = row_name(r);
  if (r.bits_per_element) text += fmt::format(", {:.3f} bits per element", *r.bits_per_element);
  if (r.kl) text += fmt::format(", KL {:.4g}", *r.kl);
  if (r.kl_stderr) text += fmt::format(" +- {:.2g}", *r.kl_stderr);
  if (r.recall) text += fmt::format(", recall {:.3f}", *r.recall);
  return text;
}

using Value = std::optional<double> (*)(const MethodResult&);

// Methods against their true bits.
std::vector<PlotSeries> against_bits(const BenchmarkReport& report, Value value, Value error) {
  std::vector<PlotSeries> series;
  for (const MethodResult& r : report.results) {
    const std::optional<double> y = value(r);
    if (r.reference || !y || !r.bits_per_element) continue;
    const std::string name = r.baseline ? "baselines" : series_name(r);
    auto at = std::ranges::find(series, name, &PlotSeries::name);
    if (at == series.end()) {
      series.push_back({.name = name, .points = {}, .muted = r.baseline, .joined = !r.baseline});
      at = series.end() - 1;
    }
    at->points.push_back({*r.bits_per_element, *y, row_name(r), detail(r), error ? error(r).value_or(0) : 0});
  }
  for (PlotSeries& s : series) std::ranges::stable_sort(s.points, {}, &PlotPoint::x);
  return series;
}

Plot quality_plot(const BenchmarkReport& report) {
  Plot plot{.title = "What is lost: divergence from the unquantized model",
            .x_label = "bits per element held: codes, scales and gains (log)",
            .y_label = "KL, nats per token (log)",
            .log_x = true,
            .log_y = true,
            .series = against_bits(
                report, [](const MethodResult& r) { return r.kl; },
                [](const MethodResult& r) { return r.kl_stderr; })};
  PlotSeries forecast{.name = "forecast", .points = {}, .dashed = true};
  for (const MethodResult& r : report.results) {
    if (!r.forecast_kl || !r.bits_per_element) continue;
    forecast.points.push_back({*r.bits_per_element, *r.forecast_kl, "",
                               fmt::format("{}: forecast {:.4g}", row_name(r), *r.forecast_kl)});
  }
  std::ranges::stable_sort(forecast.points, {}, &PlotPoint::x);
  if (!forecast.points.empty()) plot.series.push_back(std::move(forecast));
  return plot;
}

Plot recall_plot(const BenchmarkReport& report) {
  Plot plot{.title = "What is remembered: facts recalled from the context",
            .x_label = "bits per element held: codes, scales and gains (log)",
            .y_label = "recall, share of the questions",
            .log_x = true,
            .series = against_bits(report, [](const MethodResult& r) { return r.recall; }, nullptr)};
  const auto reference = std::ranges::find(report.results, true, &MethodResult::reference);
  if (reference == report.results.end() || !reference->recall || plot.series.empty()) return plot;
  double low = 1e9, high = 0;
  for (const PlotSeries& s : plot.series) {
    for (const PlotPoint& p : s.points) low = std::min(low, p.x), high = std::max(high, p.x);
  }
  const std::string text = fmt::format("unquantized: {:.3f}", *reference->recall);
  plot.series.push_back(
      {.name = "unquantized",
       .points = {{low, *reference->recall, "", text}, {high, *reference->recall, "", text}},
       .muted = true,
       .dashed = true});
  return plot;
}

Plot memory_plot(const BenchmarkReport& report) {
  Plot plot{.title = "What it takes: cache memory by context, to the byte, all layers",
            .x_label = "tokens (log)",
            .y_label = "MB, millions of bytes (log)",
            .log_x = true,
            .log_y = true,
            .series = {}};
  for (const MethodResult& r : report.results) {
    if (r.memory_by_context.empty()) continue;
    PlotSeries series{.name = row_name(r), .points = {}, .muted = r.baseline || r.reference};
    for (const auto& [tokens, bytes] : r.memory_by_context) {
      const double mb = static_cast<double>(bytes) / 1e6;
      series.points.push_back({static_cast<double>(tokens), mb, "",
                               fmt::format("{}: {} tokens, {:.2f} MB", row_name(r), tokens, mb)});
    }
    series.points.back().label = series.name;
    plot.series.push_back(std::move(series));
  }
  return plot;
}

std::string speed_bars(const BenchmarkReport& report) {
  std::vector<Bar> bars;
  for (const MethodResult& r : report.results) {
    if (!r.decode_tokens_per_s) continue;
    const Spread& s = *r.decode_tokens_per_s;
    bars.push_back({row_name(r),
                    fmt::format("{}: {:.1f} tokens/s, {:.1f} to {:.1f}", row_name(r), s.median, s.min, s.max),
                    s.median, s.min, s.max, r.baseline || r.reference});
  }
  const std::int64_t filled = report.settings.value("fill_context", std::int64_t{0});
  const std::int64_t tokens = filled > 0 ? filled : report.settings.value("seq_len", std::int64_t{0});
  return svg_bars(
      fmt::format("How fast it decodes after {} tokens (median, whisker: range of the runs)", tokens),
      "tokens/s", bars);
}

std::string table(const BenchmarkReport& report) {
  const auto rows = report_cells(report);
  std::string text = "<div class=\"wide\"><table>\n";
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const char* cell = r == 0 ? "th" : "td";
    const bool aside = r > 0 && (report.results[r - 1].baseline || report.results[r - 1].reference);
    text += aside ? "<tr class=\"baseline\">" : "<tr>";
    for (const std::string& content : rows[r])
      text += fmt::format("<{0}>{1}</{0}>", cell, escaped_html(content));
    text += "</tr>\n";
  }
  return text + "</table></div>\n";
}

}  // namespace

std::string report_html(const BenchmarkReport& report) {
  const std::string model = report.model.value("name", std::string("model"));
  std::string text = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width\">\n<title>VeloxQuant: {0}</title>\n<style>{1}</style></head>\n<body>\n"
      "<h1>KV cache methods on {0}</h1>\n",
      escaped_html(model), kStyle);
  text += "<div class=\"plots\">\n";
  for (const std::string& plot :
       {svg(quality_plot(report)), svg(recall_plot(report)), svg(memory_plot(report)), speed_bars(report)}) {
    if (!plot.empty()) text += "<figure style=\"margin:0\">" + plot + "</figure>\n";
  }
  text += "</div>\n<h2>All figures</h2>\n" + table(report) + "<h2>How it was measured</h2>\n<dl>\n";
  for (const auto& [title, note] : report_notes(report)) {
    text += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escaped_html(title), escaped_html(note));
  }
  return text + "</dl>\n</body></html>\n";
}

}  // namespace veloxquant::cli
