// The report for people: an aligned table, or markdown, with what a reader needs to judge it.
#include <fmt/format.h>

#include <algorithm>

#include "report.hpp"

namespace veloxquant::cli {
namespace {

using Row = std::vector<std::string>;

const char* const kMissing = "-";

std::optional<double> megabytes(std::optional<std::uint64_t> bytes) {
  return bytes ? std::optional(static_cast<double>(*bytes) / 1e6) : std::nullopt;
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

// An error is known to one or two digits.
std::string error_of(double value) {
  return value == 0 ? "0" : value >= 1e-4 ? fmt::format("{:#.2g}", value) : fmt::format("{:.0e}", value);
}

// The middle one of the runs, and the ends: the middle of those would be another figure.
std::string speed(const std::optional<Spread>& s) {
  if (!s) return kMissing;
  const int digits = s->median < 100 ? 1 : 0;
  const std::string median_speed = fmt::format("{:.{}f}", s->median, digits);
  if (s->max == s->min) return median_speed;
  return fmt::format("{} [{:.{}f}, {:.{}f}]", median_speed, s->min, digits, s->max, digits);
}

std::string recall(const MethodResult& r) {
  const std::optional<double> error = recall_error(r);
  return error ? fmt::format("{:.3f} +-{}", *r.recall, error_of(*error)) : fixed(r.recall, 3);
}

std::string perplexity(const MethodResult& r) {
  return r.perplexity ? fmt::format("{:#.5g}", *r.perplexity) : kMissing;
}

std::string divergence(const MethodResult& r) {
  if (!r.kl || r.reference) return significant(r.kl);
  return r.kl_stderr ? fmt::format("{} +-{}", significant(r.kl), error_of(*r.kl_stderr)) : significant(r.kl);
}

std::string percent(std::optional<double> share) {
  return share ? fmt::format("{:.2f}", 100 * *share) : kMissing;
}

const char* const kFilled = "filled MB";

struct Column {
  const char* title;  // short: a terminal has 80 to 120 columns for all of them
  const char* explained;
  std::string (*cell)(const MethodResult&);
  Columns part = Columns::quality;
};

// What it takes, what it loses, how fast it is.
// clang-format off
const Column kColumns[] = {
    {"bits", "bits per element", [](const MethodResult& r) { return fixed(r.bits_per_element, 3); }},
    {"cache MB", "cache MB", [](const MethodResult& r) { return fixed(megabytes(r.resident_bytes), 2); }},
    {kFilled, kFilled, [](const MethodResult& r) { return fixed(megabytes(r.filled_bytes), 1); }},
    {"peak MB", "peak MB", [](const MethodResult& r) { return fixed(megabytes(peak_bytes(r)), 1); }},
    {"perplexity", "perplexity", perplexity},
    {"KL", "KL (nats/token)", divergence},
    {"top-1 %", "same top-1 %", [](const MethodResult& r) { return percent(r.same_top1); }},
    {"recall", "recall", recall},
    {"attn err", "attention error", [](const MethodResult& r) { return significant(mean_attention_error(r)); }},
    {"prefill/s", "prefill tokens/s", [](const MethodResult& r) { return speed(r.prefill_tokens_per_s); }, Columns::speed},
    {"decode/s", "decode tokens/s", [](const MethodResult& r) { return speed(r.decode_tokens_per_s); }, Columns::speed},
    {"encode us", "encode us/token", [](const MethodResult& r) { return fixed(median(r.encode_us_per_token), 1); }, Columns::speed},
};
// clang-format on

std::vector<Row> cells(const BenchmarkReport& report, const char* Column::* title,
                       Columns columns = Columns::all) {
  std::vector<Row> rows(1, Row{"method"});
  for (const MethodResult& result : report.results) rows.push_back({display_name(result)});
  for (const Column& column : kColumns) {
    if (column.title == kFilled && synthetic_context(report) == 0) continue;
    if (columns != Columns::all && columns != column.part) continue;
    rows[0].emplace_back(column.*title);
    for (std::size_t i = 0; i < report.results.size(); ++i)
      rows[i + 1].push_back(column.cell(report.results[i]));
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

// The columns [begin, end) of a table, the first column before them. It reads from the left, figures from the
// right.
std::string block(const std::vector<Row>& rows, const std::vector<std::size_t>& width, std::size_t begin,
                  std::size_t end) {
  std::string text;
  for (const Row& row : rows) {
    std::string line = fmt::format("{:<{}}", row[0], width[0]);
    for (std::size_t c = begin; c < end; ++c) line += fmt::format("  {:>{}}", row[c], width[c]);
    text += line + "\n";
    if (&row == &rows[0]) text += std::string(line.size(), '-') + "\n";
  }
  return text;
}

// As many columns beside each other as fit; the rest in further blocks below, a blank line after each.
std::string stacked(const std::vector<Row>& rows, std::size_t line_width) {
  const std::vector<std::size_t> width = widths(rows);
  std::string text;
  for (std::size_t begin = 1; begin < width.size();) {
    std::size_t end = begin, used = width[0];
    while (end < width.size() && (end == begin || used + 2 + width[end] <= line_width))
      used += 2 + width[end++];
    text += block(rows, width, begin, end) + "\n";
    begin = end;
  }
  return text;
}

// Words of `text` in lines of at most `line_width`; the second line and later ones are indented.
std::string wrapped(const std::string& text, std::size_t indent, std::size_t line_width) {
  std::string result;
  std::size_t used = indent;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    if (used > indent && used + 1 + (end - begin) > line_width) {
      result += "\n" + std::string(indent, ' ');
      used = indent;
    } else if (used > indent) {
      result += ' ';
      ++used;
    }
    result += text.substr(begin, end - begin);
    used += end - begin;
    begin = end + 1;
  }
  return result;
}

std::string replaced(const std::string& text, char what, const char* by) {
  std::string result;
  for (const char c : text) c == what ? result += by : result += c;
  return result;
}

// Markdown passes tags on to whoever shows it; in tables a bar ends a cell.
std::string markdown_text(const std::string& text) { return replaced(text, '<', "&lt;"); }
std::string markdown_cell(const std::string& text) { return replaced(markdown_text(text), '|', "\\|"); }

}  // namespace

std::vector<std::vector<std::string>> report_cells(const BenchmarkReport& report, Columns columns) {
  return cells(report, &Column::explained, columns);
}

std::string report_table(const BenchmarkReport& report, std::size_t line_width) {
  constexpr std::size_t kTitle = 15;
  std::string text = stacked(cells(report, &Column::title), line_width);
  for (const auto& [title, note] : report_notes(report)) {
    text += fmt::format("{:<{}}{}\n", title, kTitle, wrapped(note, kTitle, line_width));
  }
  return text;
}

std::string report_markdown(const BenchmarkReport& report) {
  const std::vector<Row> rows = cells(report, &Column::explained);
  std::string text;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (const std::string& cell : rows[r]) text += "| " + markdown_cell(cell) + " ";
    text += "|\n";
    if (r > 0) continue;
    for (std::size_t c = 0; c < rows[0].size(); ++c) text += c == 0 ? "| --- " : "| ---: ";
    text += "|\n";
  }
  text += "\n";
  for (const auto& [title, note] : report_notes(report))
    text += fmt::format("- {}: {}\n", title, markdown_text(note));
  return text;
}

}  // namespace veloxquant::cli
