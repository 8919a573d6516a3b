// The report as JSON. A figure that was not measured is null.
#include "report.hpp"

#include "error_text.hpp"
#include "json_text.hpp"

namespace veloxquant::cli {
namespace {

using Json = nlohmann::ordered_json;

Json ends(const std::optional<Spread>& spread) { return spread ? Json{spread->min, spread->max} : Json(); }

// Keys and values that are coded alike are one name and one width.
std::string method_name(const MethodResult& result) {
  if (result.reference) return "unquantized";
  const MethodSpec &keys = result.method.keys, &values = result.method.values;
  return keys.method == values.method ? keys.method : keys.method + "/" + values.method;
}

// What the row's K and V codes leave exact.
Json unquantized(const BenchmarkReport& report) {
  const auto setting = [&](const Json& from, const char* key) {
    return from.contains(key) ? from[key] : Json();
  };
  return {{"sinks", setting(report.settings, "sinks")},
          {"recent", setting(report.settings, "recent")},
          {"weights", setting(report.model, "weights")},
          {"activations", "f32"}};
}

// A number as it was written ("2", "1.5"); null when it was left to the artifacts.
Json bits_number(const MethodSpec& spec) {
  const Json number = Json::parse(asked_bits(spec), nullptr, false);
  return number.is_number() ? number : Json();
}

Json result_json(const MethodResult& r, const BenchmarkReport& report) {
  Json json;
  json["method"] = method_name(r);
  json["spec"] = row_name(r);
  json["baseline"] = r.baseline;
  json["bits"] = bits_number(r.method.keys);
  json["value_bits"] = bits_number(r.method.values);
  json["bits_per_element"] = or_null(r.bits_per_element);
  json["resident_bytes"] = or_null(r.resident_bytes);
  json["filled_bytes"] = or_null(r.filled_bytes);
  json["resident_measured"] = r.memory ? Json(r.memory->resident_measured) : Json();
  json["peak_bytes"] = or_null(peak_bytes(r));
  json["perplexity"] = or_null(r.perplexity);
  json["kl"] = or_null(r.kl);
  json["kl_stderr"] = or_null(r.kl_stderr);
  json["same_top1"] = or_null(r.same_top1);
  json["recall"] = or_null(r.recall);
  json["attention_error"] = r.attention_error.empty() ? Json() : Json(r.attention_error);
  json["prefill_tokens_per_s"] = or_null(median(r.prefill_tokens_per_s));
  json["decode_tokens_per_s"] = or_null(median(r.decode_tokens_per_s));
  json["encode_us_per_token"] = or_null(median(r.encode_us_per_token));
  json["arithmetic"] = r.arithmetic;
  json["attention"] = r.attention;
  json["spread"] = {{"prefill_tokens_per_s", ends(r.prefill_tokens_per_s)},
                    {"decode_tokens_per_s", ends(r.decode_tokens_per_s)},
                    {"encode_us_per_token", ends(r.encode_us_per_token)}};
  json["recall_asked"] = r.recall_asked;
  json["forecast_kl"] = or_null(r.forecast_kl);
  json["method_bytes"] = r.method_bytes;
  json["unquantized"] = unquantized(report);
  return json;
}

}  // namespace

std::string report_json(const BenchmarkReport& report) {
  Json json = {{"schema", kBenchmarkSchema}, {"environment", report.environment},
               {"model", report.model},      {"settings", report.settings},
               {"results", Json::array()},   {"left_out", Json::array()},
               {"warnings", report.warnings}};
  for (const MethodResult& result : report.results) json["results"].push_back(result_json(result, report));
  for (const auto& [method, reason] : report.left_out) {
    json["left_out"].push_back({{"method", method.name()}, {"reason", without_operation(reason)}});
  }
  return json_text(json);
}

}  // namespace veloxquant::cli
