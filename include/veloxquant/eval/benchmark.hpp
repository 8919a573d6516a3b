// The benchmark: what methods cost and what they lose, on a real model and a real text.
//
// The unquantized model (the same decoder with f32 caches) runs over every window and every recall sequence,
// and each method after it, in pieces of `chunk` tokens. A piece's keys and values are appended before its
// queries attend, so that attention reads nothing but what the cache holds: every K and V is quantized, the
// newest piece's too, except the sinks and the recent window asked for. How the text is cut into pieces
// therefore changes nothing but the speed.
//
// What is measured, by method:
//   perplexity, KL, same-top-1   all S - 1 predictions of every window (windows.hpp, divergence.hpp)
//   recall                       all questions of the recall sequences (recall.hpp)
//   attention error              window 0: queries, keys and values of the unquantized run, attention on the
//                                method's cache of those keys and values against the unquantized attention
//   prefill speed                `runs` of the passes above, the output matrix not counted
//   decode speed                 after each of those, `decode_tokens` further tokens, one at a time, the
//                                output matrix and the arg-max counted; with `fill_context` instead on caches
//                                that hold so many tokens of normal noise, method after method, since such
//                                caches are large
//   encode cost                  `runs` times: append() of the keys and values of window 0's first piece to
//                                empty caches, all layers, divided by its tokens
//
// The standard error of KL is over the windows' means; with one window only, over blocks of 256 tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <veloxquant/eval/recall.hpp>
#include <veloxquant/eval/result.hpp>
#include <veloxquant/eval/windows.hpp>
#include <veloxquant/models/decoder.hpp>

namespace veloxquant {

// `done` of `total` passes are over; the next one is `stage` ("window 2 of 4") with the method `item`.
using BenchmarkProgress = std::function<void(const std::string& stage, const std::string& item,
                                             std::size_t done, std::size_t total)>;

struct BenchmarkRequest {
  std::vector<BenchmarkMethod> asked, baselines;
  std::vector<TokenIds> windows;       // one or more, of equal length
  std::vector<RecallSequence> recall;  // may be empty: recall is then not measured
  std::int64_t sinks = 0, recent = 0;  // tokens kept exact, as in KVCacheOptions
  std::int64_t chunk = 512;            // tokens of a piece
  int runs = 3;                        // timed runs, 1 or more
  std::int64_t decode_tokens = 32;
  // Not 0: decode speed is measured after so many synthetic tokens in every layer, and what the caches then
  // hold.
  std::int64_t fill_context = 0;
  BenchmarkProgress progress;  // may be null
};

// A baseline that cannot serve the model, and why: the message of the error.
struct LeftOut {
  BenchmarkMethod method;
  std::string reason;
};

struct BenchmarkOutcome {
  std::vector<MethodResult> results;  // the unquantized model, what was asked, the baselines
  std::vector<LeftOut> left_out;
  std::vector<std::string> warnings;  // sentences for the reader
};

// The config of a method's caches for a model. Throws ConfigError.
KVCacheConfig cache_config(const ModelConfig& model, const BenchmarkMethod& method, std::int64_t sinks,
                           std::int64_t recent);
// The method of the unquantized reference: f32 keys and values.
BenchmarkMethod unquantized_method();

// Throws ConfigError for a request without meaning and for asked methods that cannot serve the model, and
// whatever the decoder and the caches throw.
BenchmarkOutcome run_benchmark(Decoder& decoder, const BenchmarkRequest& request);

}  // namespace veloxquant
