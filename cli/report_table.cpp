// The report for people: an aligned table, or markdown, with what a reader needs to judge it.
#include <fmt/format.h>

#include <algorithm>

#include "report.hpp"

namespace veloxquant::cli {
namespace {

using Json = nlohmann::ordered_json;
using Row = std::vector<std::string>;

const char* const kMissing = "-";

std::optional<double> median(const std::optional<Spread>& spread) {
  return spread ? std::optional(spread->median) : std::nullopt;
}

std::optional<double> megabytes(std::optional<std::uint64_t> bytes) {
  return bytes ? std::optional(static_cast<double>(*bytes) / 1e6) : std::nullopt;
}

std::optional<std::uint64_t> peak(const MethodResult& r) {
  return r.memory ? std::optional(r.memory->peak_bytes) : std::nullopt;
}

std::string fixed(std::optional<double> value, int digits) {
  return value ? fmt::format("{:.{}f}", *value, digits) : kMissing;
}

// Three significant digits, for figures that range over many powers of ten.
std::string significant(std::optional<double> value) {
  if (!value) return kMissing;
  if (*value == 0) return "0";
  return *value >= 1e-3 && *value < 1000 ? fmt::format("{:#.3g}", *value) : fmt::format("{:.2e}", *value);
}

std::string speed(const std::optional<Spread>& s) {
  if (!s) return kMissing;
  const int digits = s->median < 100 ? 1 : 0;
  const std::string median_speed = fmt::format("{:.{}f}", s->median, digits);
  if (s->max == s->min) return median_speed;
  return fmt::format("{} +-{:.{}f}", median_speed, (s->max - s->min) / 2, digits);
}

std::string bits(const MethodResult& r) {
  const std::string k = asked_bits(r.method.keys), v = asked_bits(r.method.values);
  return k == v ? k : fmt::format("{}/{}", k, v);
}

std::string divergence(const MethodResult& r) {
  if (!r.kl || r.reference) return significant(r.kl);
  return r.kl_stderr ? fmt::format("{} +-{}", significant(r.kl), significant(r.kl_stderr))
                     : significant(r.kl);
}

std::string recall(const MethodResult& r) {
  return r.recall ? fmt::format("{:.3f} of {}", *r.recall, r.recall_asked) : kMissing;
}

std::string percent(std::optional<double> share) {
  return share ? fmt::format("{:.2f}", 100 * *share) : kMissing;
}

struct Column {
  const char* title;
  std::string (*cell)(const MethodResult&);
};

// clang-format off
const Column kColumns[] = {
    {"method", row_name},
    {"bits K/V", bits},
    {"bits/element", [](const MethodResult& r) { return fixed(r.bits_per_element, 3); }},
    {"cache MB", [](const MethodResult& r) { return fixed(megabytes(r.resident_bytes), 2); }},
    {"peak MB", [](const MethodResult& r) { return fixed(megabytes(peak(r)), 1); }},
    {"perplexity", [](const MethodResult& r) { return fixed(r.perplexity, 4); }},
    {"KL (nats/token)", divergence},
    {"same top-1 %", [](const MethodResult& r) { return percent(r.same_top1); }},
    {"recall", recall},
    {"attn error", [](const MethodResult& r) { return significant(mean_attention_error(r)); }},
    {"prefill tok/s", [](const MethodResult& r) { return speed(r.prefill_tokens_per_s); }},
    {"decode tok/s", [](const MethodResult& r) { return speed(r.decode_tokens_per_s); }},
    {"encode us/tok", [](const MethodResult& r) { return fixed(median(r.encode_us_per_token), 1); }},
};
// clang-format on

std::vector<Row> cells(const BenchmarkReport& report) {
  std::vector<Row> rows(1);
  for (const Column& column : kColumns) rows[0].emplace_back(column.title);
  for (const MethodResult& result : report.results) {
    Row& row = rows.emplace_back();
    for (const Column& column : kColumns) row.push_back(column.cell(result));
  }
  return rows;
}

std::vector<std::size_t> widths(const std::vector<Row>& rows) {
  std::vector<std::size_t> result(rows[0].size());
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) result[i] = std::max(result[i], row[i].size());
  }
  return result;
}

// The first column reads from the left, figures from the right.
std::string align(const std::string& cell, std::size_t column, std::size_t width) {
  return column == 0 ? fmt::format("{:<{}}", cell, width) : fmt::format("{:>{}}", cell, width);
}

std::string in_words(const Json& value) {
  if (value.is_null()) return "none";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// "cpu X, threads 2, ..."
std::string listed(const Json& object) {
  std::string text;
  for (const auto& [key, value] : object.items()) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", key, in_words(value));
  }
  return text;
}

std::string not_quantized(const BenchmarkReport& report) {
  const auto tokens = [&](const char* key) { return report.settings.value(key, std::int64_t{0}); };
  const std::string exact = tokens("sinks") + tokens("recent") == 0
                                ? std::string("no token of the cache was left exact")
                                : fmt::format("the first {} and the newest {} tokens of the cache (exact)",
                                              tokens("sinks"), tokens("recent"));
  return fmt::format("{}; weights ({}), activations and queries (f32)", exact,
                     report.model.contains("weights") ? in_words(report.model["weights"]) : "as stored");
}

// What follows the table, as (title, text).
std::vector<std::pair<std::string, std::string>> footnotes(const BenchmarkReport& report) {
  std::vector<std::pair<std::string, std::string>> notes = {{"Not quantized", not_quantized(report)}};
  for (const auto& [method, reason] : report.left_out) notes.emplace_back("Left out", method + ": " + reason);
  for (const std::string& warning : report.warnings) notes.emplace_back("Warning", warning);
  notes.emplace_back(
      "How to read",
      "+- is the standard error of a KL and half the range of a speed's runs; MB are millions of "
      "bytes; attn error is relative, squared, a mean over the layers");
  notes.emplace_back("Model", listed(report.model));
  notes.emplace_back("Settings", listed(report.settings));
  notes.emplace_back("Environment", listed(report.environment));
  return notes;
}

std::string escaped_markdown(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '|') result += '\\';
    result += c;
  }
  return result;
}

}  // namespace

std::string report_table(const BenchmarkReport& report) {
  const std::vector<Row> rows = cells(report);
  const std::vector<std::size_t> width = widths(rows);
  std::string text;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::string line;
    for (std::size_t c = 0; c < width.size(); ++c)
      line += (c == 0 ? "" : "  ") + align(rows[r][c], c, width[c]);
    text += line + "\n";
    if (r == 0) text += std::string(line.size(), '-') + "\n";
  }
  text += "\n";
  for (const auto& [title, note] : footnotes(report)) text += fmt::format("{:<14} {}\n", title, note);
  return text;
}

std::string report_markdown(const BenchmarkReport& report) {
  const std::vector<Row> rows = cells(report);
  std::string text;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (const std::string& cell : rows[r]) text += "| " + escaped_markdown(cell) + " ";
    text += "|\n";
    if (r > 0) continue;
    for (std::size_t c = 0; c < rows[0].size(); ++c) text += c == 0 ? "| --- " : "| ---: ";
    text += "|\n";
  }
  text += "\n";
  for (const auto& [title, note] : footnotes(report)) text += fmt::format("- {}: {}\n", title, note);
  return text;
}

}  // namespace veloxquant::cli
