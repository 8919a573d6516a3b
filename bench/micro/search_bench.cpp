// Time to find the ten keys of largest inner product among `range` keys of 128 coordinates: over the keys of
// a cache, over an index of vectors, and by products with the vectors as floats.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <functional>
#include <random>
#include <vector>
#include <veloxquant/cache/packed_kv_cache.hpp>
#include <veloxquant/search/key_search.hpp>
#include <veloxquant/search/rabitq_index.hpp>

namespace veloxquant {
namespace {

constexpr int kHeadDim = 128, kQueries = 16;

Tensor gaussian(Shape shape, unsigned seed) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> normal;
  Tensor x = Tensor::empty(std::move(shape), DType::f32);
  for (float& value : x.span<float>()) value = normal(generator);
  return x;
}

// Queries that look for a key.
Tensor queries_for(const Tensor& keys) {
  Tensor queries = gaussian({kQueries, kHeadDim}, 2);
  for (std::int64_t i = 0; i < queries.numel(); ++i)
    queries.data<float>()[i] += 0.7f * keys.data<float>()[37 * i];
  return queries;
}

template <class Search>
void run(benchmark::State& state, const Tensor& queries, const Search& search) {
  std::int64_t i = 0, reranked = 0, searches = 0;
  for (auto _ : state) {
    const SearchResult found = search(queries.slice(0, i, i + 1).reshape({kHeadDim}));
    benchmark::DoNotOptimize(found.neighbours.data());
    reranked += found.reranked;
    ++searches;
    i = (i + 1) % kQueries;
  }
  state.counters["reranked"] = static_cast<double>(reranked) / static_cast<double>(searches);
  state.counters["ns_per_key"] =
      benchmark::Counter(static_cast<double>(state.range(0)) * 1e-9,
                         benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void search_cached_keys(benchmark::State& state) {
  const std::int64_t count = state.range(0);
  KVCacheOptions options;
  options.kv_heads = 1;
  options.head_dim = kHeadDim;
  options.keys = options.values = MethodSpec::parse("rabitq:4");
  PackedKVCache cache(std::make_shared<const KVCacheConfig>(options), 0);
  const Tensor keys = gaussian({1, 1, count, kHeadDim}, 1);
  cache.append(keys);
  const KeySearch search(cache);
  run(state, queries_for(keys), [&](const Tensor& q) { return search.search(0, 0, q); });
}
BENCHMARK(search_cached_keys)->Arg(8192)->Arg(65536)->Unit(benchmark::kMicrosecond);

void search_index(benchmark::State& state) {
  const Tensor keys = gaussian({state.range(0), kHeadDim}, 1);
  const RabitqIndex index(keys, {.bits = 4});
  run(state, queries_for(keys), [&](const Tensor& q) { return index.search(q); });
}
BENCHMARK(search_index)->Arg(8192)->Arg(65536)->Unit(benchmark::kMicrosecond);

void search_floats(benchmark::State& state) {
  const Tensor keys = gaussian({state.range(0), kHeadDim}, 1);
  run(state, queries_for(keys), [&](const Tensor& q) {
    std::vector<Neighbour> all(static_cast<std::size_t>(state.range(0)));
    const float *key = keys.data<float>(), *query = q.data<float>();
    for (std::size_t i = 0; i < all.size(); ++i, key += kHeadDim) {
      float sums[16] = {};
      for (int c = 0; c < kHeadDim; c += 16)
        for (int lane = 0; lane < 16; ++lane) sums[lane] += key[c + lane] * query[c + lane];
      float sum = 0;
      for (const float lane : sums) sum += lane;
      all[i] = {static_cast<std::int64_t>(i), sum};
    }
    std::partial_sort(all.begin(), all.begin() + 10, all.end(),
                      [](const Neighbour& a, const Neighbour& b) { return a.score > b.score; });
    all.resize(10);
    return SearchResult{std::move(all), 0};
  });
}
BENCHMARK(search_floats)->Arg(8192)->Arg(65536)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace veloxquant
