// The report for spreadsheets: a line a method, figures in full, nothing where none was measured.
#include <fmt/format.h>

#include "report.hpp"

namespace veloxquant::cli {
namespace {

std::string quoted_csv(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string result = "\"";
  for (const char c : text) result += c == '"' ? "\"\"" : std::string(1, c);
  return result + '"';
}

template <class T>
std::string plain(const std::optional<T>& value) {
  return value ? fmt::format("{}", *value) : "";
}

struct CsvColumn {
  const char* key;
  std::string (*cell)(const MethodResult&);
};

// clang-format off
const CsvColumn kCsvColumns[] = {
    {"method", row_name},
    {"bits", [](const MethodResult& r) { return asked_bits(r.method.keys); }},
    {"value_bits", [](const MethodResult& r) { return asked_bits(r.method.values); }},
    {"bits_per_element", [](const MethodResult& r) { return plain(r.bits_per_element); }},
    {"resident_bytes", [](const MethodResult& r) { return plain(r.resident_bytes); }},
    {"peak_bytes", [](const MethodResult& r) { return plain(peak_bytes(r)); }},
    {"perplexity", [](const MethodResult& r) { return plain(r.perplexity); }},
    {"kl", [](const MethodResult& r) { return plain(r.kl); }},
    {"kl_stderr", [](const MethodResult& r) { return plain(r.kl_stderr); }},
    {"same_top1", [](const MethodResult& r) { return plain(r.same_top1); }},
    {"recall", [](const MethodResult& r) { return plain(r.recall); }},
    {"recall_asked", [](const MethodResult& r) { return fmt::format("{}", r.recall_asked); }},
    {"attention_error_mean", [](const MethodResult& r) { return plain(mean_attention_error(r)); }},
    {"prefill_tokens_per_s", [](const MethodResult& r) { return plain(median(r.prefill_tokens_per_s)); }},
    {"decode_tokens_per_s", [](const MethodResult& r) { return plain(median(r.decode_tokens_per_s)); }},
    {"encode_us_per_token", [](const MethodResult& r) { return plain(median(r.encode_us_per_token)); }},
    {"filled_bytes", [](const MethodResult& r) { return plain(r.filled_bytes); }},
    {"method_bytes", [](const MethodResult& r) { return fmt::format("{}", r.method_bytes); }},
    {"arithmetic", [](const MethodResult& r) { return r.arithmetic; }},
    {"forecast_kl", [](const MethodResult& r) { return plain(r.forecast_kl); }},
    {"attention", [](const MethodResult& r) { return r.attention; }},
};
// clang-format on

}  // namespace

std::string report_csv(const BenchmarkReport& report) {
  std::string text;
  for (const CsvColumn& column : kCsvColumns)
    text += fmt::format("{}{}", text.empty() ? "" : ",", column.key);
  text += "\n";
  for (const MethodResult& result : report.results) {
    std::string line;
    for (const CsvColumn& column : kCsvColumns) {
      line += (&column == kCsvColumns ? "" : ",") + quoted_csv(column.cell(result));
    }
    text += line + "\n";
  }
  return text;
}

}  // namespace veloxquant::cli
