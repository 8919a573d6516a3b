// What stands below the table: what was measured, how, and on what.
#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

#include "core/counted.hpp"
#include "core/quote.hpp"
#include "error_text.hpp"
#include "report.hpp"

namespace veloxquant::cli {
namespace {

using Json = nlohmann::ordered_json;

// A value as text that a terminal may show.
std::string in_words(const Json& value) {
  if (value.is_null()) return "none";
  return value.is_string() ? printable(value.get<std::string>()) : value.dump();
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
                                : fmt::format("the first {} and the newest {} of the cache (exact)",
                                              counted(tokens("sinks"), "token"), tokens("recent"));
  return fmt::format("{}; weights ({}), activations and queries (f32)", exact,
                     report.model.contains("weights") ? in_words(report.model["weights"]) : "as stored");
}

// The same for every method.
int questions(const BenchmarkReport& report) {
  return report.results.empty() ? 0 : report.results.front().recall_asked;
}

// How each row's codes are read, rows that are read alike together.
std::string attention_paths(const BenchmarkReport& report) {
  std::vector<std::pair<std::string, std::string>> paths;  // path, rows
  for (const MethodResult& result : report.results) {
    const auto same =
        std::find_if(paths.begin(), paths.end(), [&](const auto& p) { return p.first == result.attention; });
    if (same == paths.end())
      paths.emplace_back(result.attention, short_name(result));
    else
      same->second += ", " + short_name(result);
  }
  if (paths.size() == 1) return paths[0].first;
  std::string text;
  for (const auto& [path, rows] : paths)
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", rows, path);
  return text;
}

// Tables and bases stand beside the caches, once a model.
std::string tables_of(const BenchmarkReport& report) {
  std::string text;
  for (const MethodResult& result : report.results) {
    if (result.method_bytes < kTablesWorthTelling) continue;
    text += fmt::format("{}{} {:.2f} MB", text.empty() ? "" : ", ", short_name(result),
                        static_cast<double>(result.method_bytes) / 1e6);
  }
  return text;
}

// A fact under its key, what stands before and after it, and what it is a number of, if it is one.
struct Quoted {
  const char *key, *before, *noun = "", *after = "";
};

// Those that are there, joined. Facts of artifacts are text, also where they are numbers.
std::string quoted_facts(const Json& object, std::initializer_list<Quoted> wanted) {
  std::string text;
  for (const auto& [key, before, noun, after] : wanted) {
    const auto found = object.find(key);
    if (found == object.end() || found->is_null() || *found == 0) continue;
    const std::string value = in_words(*found);
    text += before + value;
    if (*noun != '\0') text += fmt::format(" {}{}", noun, value == "1" ? "" : "s");
    text += after;
  }
  return text;
}

// What a person needs to repeat the run; the JSON report holds the rest.
std::string settings_of(const BenchmarkReport& report) {
  return quoted_facts(report.settings, {{"text", "text "},
                                        {"text_tokens", " (", "token", ")"},
                                        {"windows", ", ", "window"},
                                        {"seq_len", " of ", "token"},
                                        {"skip", " after the first ", "token"},
                                        {"recall_sequences", ", ", "recall sequence"},
                                        {"num_runs", ", ", "timed run"},
                                        {"decode_tokens", " of ", "decoded token"},
                                        {"chunk", ", pieces of ", "token"},
                                        {"arithmetic", ", ", "", " arithmetic"},
                                        {"seed", ", seed "}});
}

// "spectral: a.safetensors, of this model, on text.md (6 windows of 4096 tokens, the first 4 left out)"
std::vector<std::string> artifacts_of(const BenchmarkReport& report) {
  std::vector<std::string> result;
  const std::string prefix = "artifacts.";
  for (const auto& [key, file] : report.settings.items()) {
    if (!key.starts_with(prefix) || key.find('.', prefix.size()) != std::string::npos) continue;
    Json facts;
    for (const auto& [name, value] : report.settings.items()) {
      if (name.starts_with(key + ".")) facts[name.substr(key.size() + 1)] = value;
    }
    const bool same_model = facts.contains("model") && report.model.contains("fingerprint") &&
                            facts["model"] == report.model["fingerprint"];
    result.push_back(printable(key.substr(prefix.size())) + ": " + in_words(file) +
                     (same_model ? ", of this model" : "") +
                     quoted_facts(facts, {{"text", ", calibrated on "},
                                          {"activations", ", calibrated on "},
                                          {"windows", ", ", "window"},
                                          {"sequence_length", " of ", "token"},
                                          {"sinks", ", for ", "exact token", " at the start"}}));
  }
  return result;
}

}  // namespace

std::int64_t synthetic_context(const BenchmarkReport& report) {
  return report.settings.value("fill_context", std::int64_t{0});
}

std::vector<std::pair<std::string, std::string>> report_notes(const BenchmarkReport& report) {
  std::vector<std::pair<std::string, std::string>> notes = {{"Not quantized", not_quantized(report)}};
  if (const std::int64_t tokens = synthetic_context(report); tokens > 0) {
    notes.emplace_back(
        "Synthetic",
        fmt::format("decode speed is after {} of normal noise in every layer's cache, which then "
                    "hold filled MB; all else is measured on the text",
                    counted(tokens, "token")));
  }
  for (const auto& [method, reason] : report.left_out)
    notes.emplace_back("Left out", short_name(method) + ": " + without_operation(reason));
  for (const std::string& warning : report.warnings) notes.emplace_back("Warning", warning);
  if (const int asked = questions(report); asked > 0) {
    notes.emplace_back("Recall", counted(asked, "question"));
  }
  if (const std::string tables = tables_of(report); !tables.empty()) {
    notes.emplace_back("Tables", "held beside the caches, once for all caches of the model: " + tables);
  }
  notes.emplace_back("Attention", attention_paths(report));
  notes.emplace_back(
      "How to read",
      "bits are per element of K and V, from the bytes held; MB are millions of bytes; KL is in nats per "
      "token, +- its standard error; top-1 is the share of equal arg-maxima; recall is the share of the "
      "questions "
      "answered, +- its standard error; attn err is relative, squared, a mean over the layers; speeds are "
      "the "
      "median of the runs in tokens per second, and in brackets the slowest and the fastest; encode is "
      "microseconds per token");
  notes.emplace_back("Model", listed(report.model));
  notes.emplace_back("Settings", settings_of(report));
  for (const std::string& artifacts : artifacts_of(report)) notes.emplace_back("Artifacts", artifacts);
  notes.emplace_back("Environment", listed(report.environment));
  return notes;
}

}  // namespace veloxquant::cli
