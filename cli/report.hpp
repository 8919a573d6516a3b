// The benchmark's report, and the forms in which it is written.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>
#include <veloxquant/eval/benchmark.hpp>

namespace veloxquant::cli {

// docs/benchmark-schema.md describes every key.
inline constexpr const char* kBenchmarkSchema = "veloxquant.benchmark/1";

struct BenchmarkReport {
  nlohmann::ordered_json environment, model, settings;  // flat objects
  std::vector<MethodResult> results;
  std::vector<LeftOut> left_out;
  std::vector<std::string> warnings;
};

// "unquantized", or the method's name, as it can be given to --method.
std::string row_name(const MethodResult& result);
// The same for people: no width where a method has but one, and "rotated"; then with the name of a preset beside it.
std::string short_name(const BenchmarkMethod& method);
std::string short_name(const MethodResult& result);
std::string display_name(const MethodResult& result);
// The width that was asked for, or the budget of methods that take one ("2", "1.5"); "own" when it was left
// to the artifacts.
std::string asked_bits(const MethodSpec& spec);
// Nothing when it was not measured; the attention error is over the layers.
std::optional<double> median(const std::optional<Spread>& spread);
std::optional<std::uint64_t> peak_bytes(const MethodResult& result);
std::optional<double> mean_attention_error(const MethodResult& result);
// Standard error of the share of questions answered, by Agresti and Coull's rule: two answers of either kind are
// added, so that it is not 0 where all were answered.
std::optional<double> recall_error(const MethodResult& result);

// Tables and bases of fewer bytes beside the caches are not worth a word.
inline constexpr std::uint64_t kTablesWorthTelling = 100'000;

// Tokens that were filled in before decoding was timed; 0: a text was.
std::int64_t synthetic_context(const BenchmarkReport& report);

// All end in a newline.
std::string report_json(const BenchmarkReport& report);
// Lines of at most `line_width` characters: columns that do not fit beside the others stand below them.
std::string report_table(const BenchmarkReport& report, std::size_t line_width = 120);
std::string report_csv(const BenchmarkReport& report);
std::string report_markdown(const BenchmarkReport& report);
std::string report_html(const BenchmarkReport& report);

// What tables show: a row of titles and one a method; what stands below it, as (title, text).
enum class Columns { all, quality, speed };  // quality: sizes and losses
std::vector<std::vector<std::string>> report_cells(const BenchmarkReport& report, Columns columns);
std::vector<std::pair<std::string, std::string>> report_notes(const BenchmarkReport& report);
// What the figures of each method that was asked for amount to: its size, its loss and its speed beside fp16, and
// the row that is no larger and loses less, if one is.
struct Verdict {
  std::string name, text;
};
std::vector<Verdict> report_verdicts(const BenchmarkReport& report);

}  // namespace veloxquant::cli
