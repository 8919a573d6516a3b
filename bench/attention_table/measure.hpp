// The three measurements: a decode step, a prefill, an append.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "filled_cache.hpp"
#include "pairs.hpp"
#include "sampling.hpp"
#include "stream_meter.hpp"

namespace veloxquant::bench {

struct MeasureOptions {
  int samples = 5;                                   // clean ones wanted for each figure
  std::size_t sweep_bytes = std::size_t{448} << 20;  // least bytes of cache read before any is read again
};

// One decode step of one layer: attention of one query per head on all tokens of its cache.
struct DecodeRow {
  Pair pair;
  LayerShape shape;
  std::int64_t tokens = 0;
  int threads = 0;
  double ms = 0;
  double bytes_per_token = 0;  // of keys and values of all KV heads
  double gb_per_s = 0;         // cache bytes, all read once
  double stream_gb_per_s =
      0;  // of the same samples: each is one read of the stream and one sweep of the caches
  std::optional<double> ratio_to_f16{};  // time over that of the f16 cache of the same shape
  int clean = 0, taken = 0;

  double share_of_stream() const { return gb_per_s / stream_gb_per_s; }
};

// New tokens appended to a cache and attending to it and to each other.
struct PrefillRow {
  Pair pair;
  LayerShape shape;
  std::int64_t tokens = 0, new_tokens = 0;
  int threads = 0;
  double append_ms = 0, attend_ms = 0;
  std::optional<double> ratio_to_f16{};  // of both together
  int clean = 0, taken = 0;
};

// Coding of keys and values as they come, on one thread.
struct AppendRow {
  Pair pair;
  LayerShape shape;
  double us_per_vector_chunk = 0, us_per_vector_single = 0;  // 512 tokens a call, one token a call
  int clean = 0, taken = 0;
};

class Measurer {
 public:
  explicit Measurer(const MeasureOptions& options) : options_(options), stream_(options.sweep_bytes) {}

  DecodeRow decode(CacheMaker& maker, const LayerShape& shape, std::int64_t tokens, int threads);
  PrefillRow prefill(CacheMaker& maker, const LayerShape& shape, std::int64_t tokens, std::int64_t new_tokens,
                     int threads);
  AppendRow append(CacheMaker& maker, const LayerShape& shape);

 private:
  const std::shared_ptr<ThreadPool>& pool(int threads);

  MeasureOptions options_;
  StreamMeter stream_;
  std::map<int, std::shared_ptr<ThreadPool>> pools_;
};

}  // namespace veloxquant::bench
