// The rows as text, printed as they come, and as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "measure.hpp"

namespace veloxquant::bench {

struct Report {
  nlohmann::ordered_json environment;
  std::vector<DecodeRow> decode;
  std::vector<PrefillRow> prefill;
  std::vector<AppendRow> append;
};

void print_decode_title(const LayerShape& shape);
void print(const DecodeRow& row);
void print_prefill_title(const PrefillRow& first);
void print(const PrefillRow& row);
void print_append_title();
void print(const AppendRow& row);

// {"environment", "results", "prefill", "append"}; docs/performance.md names the keys.
std::string to_json(const Report& report);

}  // namespace veloxquant::bench
