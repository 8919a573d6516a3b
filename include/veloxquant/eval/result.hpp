// What the benchmark found out about a method. A figure that was not measured is absent, never 0.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <veloxquant/core/artifact_store.hpp>
#include <veloxquant/core/config.hpp>
#include <veloxquant/eval/statistics.hpp>

namespace veloxquant {

// A method for keys and one for values, and the name under which they are reported: "trellis:2", or
// "trellis:2/trellis:3" (keys/values) when they differ.
struct BenchmarkMethod {
  MethodSpec keys, values;
  std::shared_ptr<const ArtifactStore> artifacts{};  // of calibrated methods; else null

  std::string name() const;
};

// Memory of one method, measured in a process of its own (memory_meter.hpp).
struct MemoryFigures {
  std::uint64_t resident_bytes = 0;     // nbytes() of the caches of all layers, filled with seq_len tokens
  std::uint64_t resident_measured = 0;  // growth of the process's resident memory while they were filled
  std::uint64_t peak_bytes = 0;         // largest growth of resident memory in prefill and decoding
};

struct MethodResult {
  BenchmarkMethod method;
  bool baseline = false;   // measured for comparison, not asked for
  bool reference = false;  // the unquantized run: KL 0, same_top1 1 and attention error 0 by definition
  std::string arithmetic;  // of the model's matrix products: "fp32" or "bf16"
  std::string attention;   // how it reads the codes (attention_path)
  std::optional<double> bits_per_element;  // codes and scales over the elements of the coded tokens, K and V
  std::optional<std::uint64_t>
      resident_bytes;  // nbytes() of all layers' caches after a window of seq_len tokens
  std::optional<std::uint64_t>
      filled_bytes;                // nbytes() of all layers' caches with a synthetic context, if asked for
  std::uint64_t method_bytes = 0;  // tables and bases, shared by all caches of the model
  // nbytes() of all layers' caches with so many tokens, by the page layout
  std::vector<std::pair<std::int64_t, std::uint64_t>> memory_by_context;
  std::optional<MemoryFigures> memory;

  std::optional<double> perplexity;
  std::optional<double> kl, kl_stderr;  // nats per token, to the unquantized model
  std::optional<double> forecast_kl;    // what the calibration predicts, for methods with a forecast
  std::optional<double> same_top1;      // share of positions whose arg-max is the unquantized model's
  std::optional<double> recall;         // share of the questions asked
  int recall_asked = 0;
  std::vector<double> attention_error;  // by layer: |o - exact|^2 / |exact|^2, summed over one window

  std::optional<Spread> prefill_tokens_per_s, decode_tokens_per_s, encode_us_per_token;
};

}  // namespace veloxquant
