// The report as a page that stands alone: a table, and plots of quality against true bits, of memory against the
// context and of speed. No script and nothing from elsewhere.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <map>

#include "core/counted.hpp"
#include "core/quote.hpp"
#include "plot.hpp"
#include "report.hpp"

namespace veloxquant::cli {
namespace {

constexpr const char* kStyle = R"(
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --rule: #d0d7de; --ground: #fff; --grey: #8b949e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9ba5b0; --rule: #3a424b; --ground: #12161b; --grey: #7d8590; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 2rem auto; padding: 0 1rem; max-width: 84rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.facts { color: var(--soft); margin: 0; } .verdicts { max-width: 60rem; padding-left: 1.2rem; margin: .75rem 0 1.5rem; }
figure { margin: 0; break-inside: avoid; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(28rem, 100%), 1fr)); gap: 1.5rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 7rem; overflow-wrap: anywhere; }
tr.aside td { color: var(--soft); } tr { break-inside: avoid; }
dt { font-weight: 600; margin-top: .5rem; } dd { margin: 0; color: var(--soft); overflow-wrap: anywhere; max-width: 60rem; }
@media (max-width: 50rem) { table { font-size: .72rem; } th, td { padding: .25rem .22rem; } th:first-child, td:first-child { min-width: 6.4rem; } }
@media print {
  :root { --ink: #000; --soft: #444; --rule: #bbb; --ground: #fff; } body { margin: 0; padding: 0; font-size: 10pt; }
  .wide { overflow: visible; } table { font-size: 7.5pt; } th, td { padding: .15rem .3rem; } h2 { break-after: avoid; }
  .plots { grid-template-columns: 1fr; gap: 1rem; } figure { max-width: 15cm; }
}
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

// Whether a row is there to compare with, and not what was asked about.
bool is_aside(const MethodResult& r) { return r.baseline || r.reference; }

// A colour for each series that was asked for, a shade for each of its rows: the same in every plot.
class Paints {
 public:
  explicit Paints(const BenchmarkReport& report) {
    for (const MethodResult& r : report.results) {
      if (!is_aside(r)) rows_[series_name(r)].push_back(&r);
    }
    for (const MethodResult& r : report.results) {
      const std::string name = series_name(r);
      if (!is_aside(r) && std::ranges::find(names_, name) == names_.end()) names_.push_back(name);
    }
    for (auto& [name, rows] : rows_) {
      std::ranges::stable_sort(rows, std::greater{},
                               [](const MethodResult* r) { return r->bits_per_element.value_or(0); });
    }
  }
  Paint of(const MethodResult& r) const {
    if (is_aside(r)) return {};
    const std::string name = series_name(r);
    const auto& rows = rows_.at(name);
    return {static_cast<int>(std::ranges::find(names_, name) - names_.begin()),
            static_cast<int>(std::ranges::find(rows, &r) - rows.begin())};
  }

 private:
  std::vector<std::string> names_;
  std::map<std::string, std::vector<const MethodResult*>> rows_;  // the most bits first
};

// "+-" as people write it.
std::string typeset(const std::string& text) {
  std::string result = text;
  for (std::size_t at = 0; (at = result.find("+-", at)) != std::string::npos;) result.replace(at, 2, "±");
  return result;
}

// Long names of keys/values may go on in a second line.
std::string broken_at_slashes(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '/' ? std::string("/<wbr>") : std::string(1, c);
  return result;
}

std::string detail(const MethodResult& r) {
  std::string text = row_name(r);
  if (r.bits_per_element) text += fmt::format(", {:.3f} bits per element", *r.bits_per_element);
  if (r.kl) text += fmt::format(", KL {:.4g}", *r.kl);
  if (r.kl_stderr) text += fmt::format(" ± {:.2g}", *r.kl_stderr);
  if (r.recall) text += fmt::format(", recall {:.3f} of {}", *r.recall, r.recall_asked);
  return text;
}

using Value = std::optional<double> (*)(const MethodResult&);

PlotSeries& series_of(std::vector<PlotSeries>& all, PlotSeries wanted) {
  const auto at = std::ranges::find(all, wanted.name, &PlotSeries::name);
  return at != all.end() ? *at : all.emplace_back(std::move(wanted));
}

// Methods against their true bits.
std::vector<PlotSeries> against_bits(const BenchmarkReport& report, const Paints& paints, Value value,
                                     Value error) {
  std::vector<PlotSeries> all;
  for (const MethodResult& r : report.results) {
    const std::optional<double> y = value(r);
    if (r.reference || !y || !r.bits_per_element) continue;
    const Paint paint = paints.of(r);
    series_of(all, {.name = r.baseline ? "baselines" : series_name(r),
                    .points = {},
                    .paint = {paint.colour, 0},
                    .joined = !r.baseline})
        .points.push_back(
            {*r.bits_per_element, *y, short_name(r), detail(r), error(r).value_or(0), paint.shade});
  }
  for (PlotSeries& s : all) std::ranges::stable_sort(s.points, {}, &PlotPoint::x);
  return all;
}

Plot quality_plot(const BenchmarkReport& report, const Paints& paints) {
  Plot plot{.title = "What is lost: divergence from the unquantized model",
            .x_label = "bits per element held: codes, scales and gains (log)",
            .y_label = "KL, nats per token (log)",
            .log_x = true,
            .log_y = true,
            .series = against_bits(
                report, paints, [](const MethodResult& r) { return r.kl; },
                [](const MethodResult& r) { return r.kl_stderr; })};
  std::vector<PlotSeries> forecasts;
  for (const MethodResult& r : report.results) {
    if (!r.forecast_kl || !r.bits_per_element) continue;
    const Paint paint = paints.of(r);
    series_of(
        forecasts,
        {.name = series_name(r) + ", forecast", .points = {}, .paint = {paint.colour, 0}, .dashed = true})
        .points.push_back({*r.bits_per_element, *r.forecast_kl, "",
                           fmt::format("{}: forecast {:.4g}", row_name(r), *r.forecast_kl), 0, paint.shade});
  }
  for (PlotSeries& forecast : forecasts) {
    std::ranges::stable_sort(forecast.points, {}, &PlotPoint::x);
    plot.series.push_back(std::move(forecast));
  }
  return plot;
}

Plot recall_plot(const BenchmarkReport& report, const Paints& paints) {
  Plot plot{
      .title = "What is remembered: facts recalled from the context",
      .x_label = "bits per element held: codes, scales and gains (log)",
      .y_label = "recall, share of the questions",
      .log_x = true,
      .least_y = 0,
      .most_y = 1,
      .series = against_bits(report, paints, [](const MethodResult& r) { return r.recall; }, recall_error)};
  const auto reference = std::ranges::find(report.results, true, &MethodResult::reference);
  if (reference != report.results.end() && reference->recall)
    plot.rule = {*reference->recall, fmt::format("unquantized: {:.3f}", *reference->recall)};
  return plot;
}

Plot memory_plot(const BenchmarkReport& report, const Paints& paints) {
  Plot plot{.title = "What it takes: caches of all layers and tables by context, to the byte",
            .x_label = "tokens (log)",
            .y_label = "MB, millions of bytes (log)",
            .log_x = true,
            .log_y = true,
            .name_ends = true};
  for (const MethodResult& r : report.results) {
    if (r.memory_by_context.empty()) continue;
    PlotSeries series{.name = display_name(r), .points = {}, .paint = paints.of(r)};
    for (const auto& [tokens, bytes] : r.memory_by_context) {
      const double mb = static_cast<double>(bytes + r.method_bytes) / 1e6;
      series.points.push_back({static_cast<double>(tokens), mb, "",
                               fmt::format("{}: {}, {:.2f} MB", row_name(r), counted(tokens, "token"), mb), 0,
                               series.paint.shade});
    }
    plot.series.push_back(std::move(series));
  }
  return plot;
}

std::string speed_bars(const BenchmarkReport& report, const Paints& paints) {
  std::vector<Bar> bars;
  for (const MethodResult& r : report.results) {
    if (!r.decode_tokens_per_s) continue;
    const Spread& s = *r.decode_tokens_per_s;
    bars.push_back({display_name(r),
                    fmt::format("{}: {:.1f} tokens/s, {:.1f} to {:.1f}", row_name(r), s.median, s.min, s.max),
                    s.median, s.min, s.max, paints.of(r)});
  }
  const std::int64_t filled = synthetic_context(report);
  const std::int64_t tokens = filled > 0 ? filled : report.settings.value("seq_len", std::int64_t{0});
  return svg_bars(fmt::format("How fast it decodes after {} (median, whisker: range of the runs)",
                              counted(tokens, "token")),
                  "tokens/s", bars);
}

std::string table(const BenchmarkReport& report, Columns columns) {
  const auto rows = report_cells(report, columns);
  std::string text = "<div class=\"wide\"><table>\n";
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const char* cell = r == 0 ? "th" : "td";
    text += r > 0 && is_aside(report.results[r - 1]) ? "<tr class=\"aside\">" : "<tr>";
    for (const std::string& content : rows[r])
      text += fmt::format("<{0}>{1}</{0}>", cell, broken_at_slashes(typeset(escaped_html(content))));
    text += "</tr>\n";
  }
  return text + "</table></div>\n";
}

// Which model, which text, when and where, in a line; what is not known is left out.
std::string facts(const BenchmarkReport& report) {
  std::vector<std::string> parts;
  const nlohmann::ordered_json &model = report.model, &settings = report.settings;
  const auto has = [](const nlohmann::ordered_json& object, std::initializer_list<const char*> keys) {
    return std::ranges::all_of(keys, [&](const char* key) { return object.contains(key); });
  };
  const auto add = [&](const std::string& text) {
    if (!text.empty()) parts.push_back(printable(text));
  };
  if (has(model, {"family", "layers", "kv_heads", "head_dim"})) {
    add(fmt::format("{}, {}, {} of {}", model["family"].get<std::string>(),
                    counted(model["layers"].get<int>(), "layer"),
                    counted(model["kv_heads"].get<int>(), "KV head"), model["head_dim"].get<int>()));
  }
  if (has(settings, {"text", "windows", "seq_len"})) {
    add(fmt::format("text {}, {} of {}", settings["text"].get<std::string>(),
                    counted(settings["windows"].get<std::int64_t>(), "window"),
                    counted(settings["seq_len"].get<std::int64_t>(), "token")));
  }
  add(report.environment.value("cpu", std::string()));
  if (has(report.environment, {"date"}))
    add(report.environment["date"].get<std::string>().substr(0, std::string("2000-01-01").size()));
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : " · ") + escaped_html(part);
  return text;
}

}  // namespace

std::string report_html(const BenchmarkReport& report) {
  const std::string model = report.model.value("name", std::string("model"));
  std::string text = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width\">\n<title>VeloxQuant: "
      "{0}</title>\n<style>{1}{2}</style></head>\n<body>\n"
      "<h1>KV cache methods on {0}</h1>\n<p class=\"facts\">{3}</p>\n<ul class=\"verdicts\">\n",
      escaped_html(model), kStyle, kPlotStyle, facts(report));
  for (const auto& [name, verdict] : report_verdicts(report)) {
    text += fmt::format("<li><b>{}</b>: {}</li>\n", escaped_html(name), typeset(escaped_html(verdict)));
  }
  text += "</ul>\n<div class=\"plots\">\n";
  const Paints paints(report);
  for (const std::string& plot : {svg(quality_plot(report, paints)), svg(recall_plot(report, paints)),
                                  svg(memory_plot(report, paints)), speed_bars(report, paints)}) {
    if (!plot.empty()) text += "<figure>" + plot + "</figure>\n";
  }
  text += "</div>\n<h2>What it takes and what is lost</h2>\n" + table(report, Columns::quality) +
          "<h2>How fast it is</h2>\n" + table(report, Columns::speed) +
          "<h2>How it was measured</h2>\n<dl>\n";
  for (const auto& [title, note] : report_notes(report)) {
    text += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escaped_html(title),
                        title == "How to read" ? typeset(escaped_html(note)) : escaped_html(note));
  }
  return text + "</dl>\n</body></html>\n";
}

}  // namespace veloxquant::cli
