// Time to append to a cache, a vector: one token or a chunk of 8 KV heads, 128 coordinates, on one thread.
#include <benchmark/benchmark.h>

#include <memory>
#include <random>
#include <string>
#include <veloxquant/cache/packed_kv_cache.hpp>
#include <veloxquant/core/thread_pool.hpp>

namespace veloxquant {
namespace {

constexpr int kHeads = 8, kHeadDim = 128;
constexpr std::int64_t kLongest = 4096;

Tensor gaussian(std::int64_t tokens, std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> normal;
  const Tensor x = Tensor::empty({1, kHeads, tokens, kHeadDim}, DType::f32);
  for (float& value : x.span<float>()) value = normal(generator);
  return x;
}

void append(benchmark::State& state, const std::string& method) {
  KVCacheOptions options;
  options.head_dim = kHeadDim;
  options.kv_heads = kHeads;
  options.keys = options.values = MethodSpec::parse(method);
  PackedKVCache cache(std::make_shared<const KVCacheConfig>(options), 0, nullptr,
                      std::make_shared<ThreadPool>(1));
  const std::int64_t tokens = state.range(0);
  const Tensor keys = gaussian(tokens, 1), values = gaussian(tokens, 2);
  for (auto _ : state) {
    if (cache.size() + tokens > kLongest) cache.trim(cache.size());
    cache.append(keys, values);
  }
  state.counters["us_per_vector"] =
      benchmark::Counter(2e-6 * kHeads * static_cast<double>(tokens),
                         benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

const bool kRegistered = [] {
  for (const char* method :
       {"fp16", "affine:4", "turboquant_mse:2", "turboquant_mse:3", "turboquant_mse:4", "trellis:2"}) {
    benchmark::RegisterBenchmark((std::string("append/") + method).c_str(),
                                 [method](benchmark::State& state) { append(state, method); })
        ->ArgName("tokens")
        ->Arg(1)
        ->Arg(512)
        ->Unit(benchmark::kMicrosecond);
  }
  return true;
}();

}  // namespace
}  // namespace veloxquant
