#include "report.hpp"

#include <fmt/format.h>

#include <cstdio>

namespace veloxquant::bench {
namespace {

using Json = nlohmann::ordered_json;

// Rows take seconds: each is shown when it is there.
void print_line(const std::string& line) {
  std::puts(line.c_str());
  std::fflush(stdout);
}

std::string or_dash(const std::optional<double>& value) {
  return value ? fmt::format("{:.2f}", *value) : "-";
}

std::string samples_of(int clean, int taken) { return fmt::format("{} of {}", clean, taken); }

template <class Row>
Json common(const Row& row) {
  return {{"k", row.pair.keys},
          {"v", row.pair.values},
          {"q_heads", row.shape.q_heads},
          {"kv_heads", row.shape.kv_heads},
          {"head_dim", row.shape.head_dim},
          {"clean_samples", row.clean},
          {"samples", row.taken}};
}

Json or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

Json json_of(const DecodeRow& row) {
  Json json = common(row);
  json["tokens"] = row.tokens;
  json["threads"] = row.threads;
  json["ms"] = row.ms;
  json["bytes_per_token"] = row.bytes_per_token;
  json["gb_per_s"] = row.gb_per_s;
  json["stream_gb_per_s"] = row.stream_gb_per_s;
  json["share_of_stream"] = row.share_of_stream();
  json["ratio_to_f16"] = or_null(row.ratio_to_f16);
  return json;
}

Json json_of(const PrefillRow& row) {
  Json json = common(row);
  json["tokens"] = row.tokens;
  json["new_tokens"] = row.new_tokens;
  json["threads"] = row.threads;
  json["append_ms"] = row.append_ms;
  json["attend_ms"] = row.attend_ms;
  json["ratio_to_f16"] = or_null(row.ratio_to_f16);
  return json;
}

Json json_of(const AppendRow& row) {
  Json json = common(row);
  json["us_per_vector"] = row.us_per_vector_chunk;
  json["us_per_vector_single"] = row.us_per_vector_single;
  return json;
}

template <class Row>
Json array_of(const std::vector<Row>& rows) {
  Json array = Json::array();
  for (const Row& row : rows) array.push_back(json_of(row));
  return array;
}

}  // namespace

void print_decode_title(const LayerShape& shape) {
  print_line(fmt::format("\nOne decode step of a layer, {} query heads on {} KV heads of {}", shape.q_heads,
                         shape.kv_heads, shape.head_dim));
  print_line(fmt::format("{:<12} {:<12} {:>8} {:>7} {:>9} {:>8} {:>7} {:>8} {:>10} {:>10} {:>8}", "keys",
                         "values", "tokens", "threads", "ms", "B/token", "GB/s", "stream", "of stream",
                         "time/f16", "clean"));
}

void print(const DecodeRow& row) {
  print_line(
      fmt::format("{:<12} {:<12} {:>8} {:>7} {:>9.3f} {:>8.0f} {:>7.2f} {:>8.2f} {:>8.1f} % {:>10} {:>8}",
                  row.pair.keys, row.pair.values, row.tokens, row.threads, row.ms, row.bytes_per_token,
                  row.gb_per_s, row.stream_gb_per_s, 100 * row.share_of_stream(), or_dash(row.ratio_to_f16),
                  samples_of(row.clean, row.taken)));
}

void print_prefill_title(const PrefillRow& first) {
  print_line(fmt::format("\n{} new tokens on {}, {} query heads on {} KV heads of {}, {} threads",
                         first.new_tokens, first.tokens, first.shape.q_heads, first.shape.kv_heads,
                         first.shape.head_dim, first.threads));
  print_line(fmt::format("{:<12} {:<12} {:>10} {:>10} {:>10} {:>8}", "keys", "values", "append ms",
                         "attend ms", "time/f16", "clean"));
}

void print(const PrefillRow& row) {
  print_line(fmt::format("{:<12} {:<12} {:>10.1f} {:>10.0f} {:>10} {:>8}", row.pair.keys, row.pair.values,
                         row.append_ms, row.attend_ms, or_dash(row.ratio_to_f16),
                         samples_of(row.clean, row.taken)));
}

void print_append_title() {
  print_line("\nAppending, microseconds a vector on one thread");
  print_line(fmt::format("{:<12} {:<12} {:>5} {:>14} {:>12} {:>8}", "keys", "values", "size", "512 tokens",
                         "one token", "clean"));
}

void print(const AppendRow& row) {
  print_line(fmt::format("{:<12} {:<12} {:>5} {:>14.3f} {:>12.3f} {:>8}", row.pair.keys, row.pair.values,
                         row.shape.head_dim, row.us_per_vector_chunk, row.us_per_vector_single,
                         samples_of(row.clean, row.taken)));
}

std::string to_json(const Report& report) {
  const Json json = {{"environment", report.environment},
                     {"results", array_of(report.decode)},
                     {"prefill", array_of(report.prefill)},
                     {"append", array_of(report.append)}};
  return json.dump(1, ' ') + "\n";
}

}  // namespace veloxquant::bench
