// Time to append to a cache, a vector: one token or a chunk of 8 KV heads, on one thread.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <veloxquant/cache/packed_kv_cache.hpp>
#include <veloxquant/core/thread_pool.hpp>

#include "filled_cache.hpp"

namespace veloxquant {
namespace {

constexpr int kHeads = 8;
constexpr std::int64_t kLongest = 4096;

void append(benchmark::State& state, PackedKVCache& cache, int head_dim) {
  const std::int64_t tokens = state.range(0);
  const Shape shape = {1, kHeads, tokens, head_dim};
  const Tensor keys = bench::noise(shape, 1), values = bench::noise(shape, 2);
  for (auto _ : state) {
    if (cache.size() + tokens > kLongest) cache.trim(cache.size());
    cache.append(keys, values);
  }
  state.counters["us_per_vector"] =
      benchmark::Counter(2e-6 * kHeads * static_cast<double>(tokens),
                         benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void append_method(benchmark::State& state, const std::string& method) {
  constexpr int kHeadDim = 128;
  KVCacheOptions options;
  options.head_dim = kHeadDim;
  options.kv_heads = kHeads;
  options.keys = options.values = MethodSpec::parse(method);
  PackedKVCache cache(std::make_shared<const KVCacheConfig>(options), 0, nullptr,
                      std::make_shared<ThreadPool>(1));
  append(state, cache, kHeadDim);
}

// 2 bits on average in frames of 64 tokens.
void append_spectral(benchmark::State& state, const bench::Pair& pair, int head_dim) {
  const bench::CacheMaker maker(pair, {.kv_heads = kHeads, .head_dim = head_dim});
  append(state, *maker.empty(std::make_shared<ThreadPool>(1)), head_dim);
}

const bool kRegistered = [] {
  for (const char* method :
       {"fp16", "affine:4", "turboquant_mse:2", "turboquant_mse:3", "turboquant_mse:4", "trellis:2"}) {
    benchmark::RegisterBenchmark((std::string("append/") + method).c_str(),
                                 [method](benchmark::State& state) { append_method(state, method); })
        ->ArgName("tokens")
        ->Arg(1)
        ->Arg(512)
        ->Unit(benchmark::kMicrosecond);
  }
  for (const char* keys : {"framed64", "framed64-scalar"}) {
    for (const int head_dim : {128, 64}) {
      const bench::Pair pair{keys, bench::has_scalar_runs(keys) ? "mixed-scalar" : "mixed"};
      benchmark::RegisterBenchmark(
          ("append/" + pair.keys + "/" + std::to_string(head_dim)).c_str(),
          [pair, head_dim](benchmark::State& state) { append_spectral(state, pair, head_dim); })
          ->ArgName("tokens")
          ->Arg(1)
          ->Arg(512)
          ->Unit(benchmark::kMicrosecond);
    }
  }
  return true;
}();

}  // namespace
}  // namespace veloxquant
