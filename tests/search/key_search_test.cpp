#include <veloxquant/search/key_search.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include <veloxquant/core/artifact_store.hpp>
#include <veloxquant/core/error.hpp>

#include "cache/fixtures.hpp"

namespace veloxquant {
namespace {

using namespace veloxquant::testing;

// The best tokens by inner product with the keys as the cache gives them back.
std::vector<Neighbour> full_scan(const Tensor& keys, std::int64_t size, int row, int head,
                                 const Tensor& query, std::size_t k) {
  const std::int64_t d = keys.dim(3);
  std::vector<Neighbour> all;
  for (std::int64_t t = 0; t < size; ++t) {
    const float* key = keys.data<float>() + ((row * keys.dim(1) + head) * keys.dim(2) + t) * d;
    double product = 0;
    for (std::int64_t c = 0; c < d; ++c) product += double{key[c]} * double{query.data<float>()[c]};
    all.push_back({t, static_cast<float>(product)});
  }
  std::sort(all.begin(), all.end(), [](const Neighbour& a, const Neighbour& b) { return a.score > b.score; });
  all.resize(std::min(k, all.size()));
  return all;
}

// Margins this wide never exclude wrongly, so that the search must equal the scan.
void expect_full_scan(const KeySearch& search, const PackedKVCache& cache, int row, int head, unsigned seed,
                      const std::string& what) {
  const Tensor query = random_vectors({cache.config().options().head_dim}, seed);
  const SearchResult found = search.search(row, head, query, {.top_k = 10, .eps0 = 7});
  const auto wanted = full_scan(cache.state().first, cache.size(row), row, head, query, 10);
  ASSERT_EQ(found.neighbours.size(), wanted.size()) << what;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_EQ(found.neighbours[i].index, wanted[i].index) << what;
    EXPECT_NEAR(found.neighbours[i].score, wanted[i].score, 1e-4 * (1 + std::fabs(wanted[i].score))) << what;
  }
}

TEST(KeySearch, EqualsTheFullScan) {
  for (const char* keys :
       {"rabitq:1", "rabitq:2", "rabitq:3", "rabitq:4", "rabitq:8", "rabitq:4:transform=haar",
        "turboquant_mse:3", "trellis:2", "affine:4:transform=hadamard"}) {
    for (const std::int64_t exact : {0, 7}) {
      PackedKVCache cache =
          make_cache({.keys = keys, .values = "rabitq:2", .batch = 2, .sinks = exact, .recent = 2 * exact});
      cache.append_ragged(random_vectors({2, 2, 500, 64}, 1), random_vectors({2, 2, 500, 64}, 2),
                          std::vector<std::int64_t>{500, 9});
      const KeySearch search(cache);
      for (int row = 0; row < 2; ++row)
        for (int head = 0; head < 2; ++head)
          for (unsigned seed = 10; seed < 14; ++seed) expect_full_scan(search, cache, row, head, seed, keys);
    }
  }
}

// With the default margins next to nothing is missed, and most keys are never read.
TEST(KeySearch, PrunesWithTheDefaultMargins) {
  PackedKVCache cache = make_cache({.keys = "rabitq:4", .kv_heads = 1, .head_dim = 128});
  cache.append(random_vectors({1, 1, 8192, 128}, 1));
  const KeySearch search(cache);
  const Tensor keys = cache.state().first;
  // One bit a coordinate, a factor, a sine, and what the object itself takes.
  EXPECT_LE(8.0 * static_cast<double>(search.nbytes()) / (8192 * 128), 1.4);
  double found = 0, reranked = 0;
  constexpr int kQueries = 40;
  for (unsigned i = 0; i < kQueries; ++i) {
    // Half along a key, as queries are that look for one.
    const Tensor noise = random_vectors({128}, 100 + i), query = noise.copy();
    for (std::int64_t c = 0; c < 128; ++c)
      query.data<float>()[c] += 0.7f * keys.data<float>()[128 * 37 * i + c];
    const SearchResult result = search.search(0, 0, query);
    for (const Neighbour& n : full_scan(keys, 8192, 0, 0, query, 10))
      found += std::any_of(result.neighbours.begin(), result.neighbours.end(),
                           [&](const Neighbour& other) { return other.index == n.index; })
                   ? 1
                   : 0;
    reranked += static_cast<double>(result.reranked);
  }
  EXPECT_GE(found / (10 * kQueries), .97);
  EXPECT_LE(reranked / kQueries, 0.25 * 8192);
  RecordProperty("recall", std::to_string(found / (10 * kQueries)));
  RecordProperty("reranked", std::to_string(reranked / kQueries));
}

TEST(KeySearch, FollowsTheCache) {
  PackedKVCache cache = make_cache({.keys = "rabitq:3", .values = "rabitq:3", .sinks = 2, .recent = 5});
  KeySearch search(cache);
  const Tensor query = random_vectors({64}, 3);
  EXPECT_TRUE(search.search(0, 0, query).neighbours.empty());
  for (const std::int64_t count : {1, 1, 70, 3, 200}) {
    cache.append(random_vectors({1, 2, count, 64}, static_cast<unsigned>(count)));
    if (cache.size() > 2) {
      EXPECT_THROW(search.search(0, 0, query), ConfigError) << "keys that it does not know";
    }
    search.refresh();
    expect_full_scan(search, cache, 0, 1, 4, "append");
  }
  const TemporaryFile file;
  cache.save(file.path());
  cache.trim(100);
  EXPECT_THROW(search.search(0, 0, query), ConfigError);
  cache.append(random_vectors({1, 2, 100, 64}, 77));  // as many tokens as before
  EXPECT_THROW(search.search(0, 0, query), ConfigError);
  search.refresh();
  expect_full_scan(search, cache, 0, 0, 5, "trim");
  cache.load(file.path());
  EXPECT_THROW(search.search(0, 0, query), ConfigError);
  search.refresh();
  expect_full_scan(search, cache, 0, 0, 6, "load");
}

TEST(KeySearch, AddsBackTheCentres) {
  const auto config =
      std::make_shared<const KVCacheConfig>(options_of({.keys = "rabitq:2:centre=true", .values = "fp16"}));
  const auto artifacts = std::make_shared<ArtifactStore>();
  artifacts->put("layers.0.keys.mean", random_vectors({2, 64}, 7, 3));
  PackedKVCache cache(config, 0, artifacts);
  cache.append(random_vectors({1, 2, 200, 64}, 1));
  expect_full_scan(KeySearch(cache), cache, 0, 1, 8, "centre");
}

TEST(KeySearch, RefusesWhatItCannotServe) {
  for (const char* keys : {"fp16", "q8_0", "affine:4", "turboquant_mse:4:transform=none"}) {
    const PackedKVCache cache = make_cache({.keys = keys});
    EXPECT_THROW(KeySearch{cache}, UnsupportedError) << keys;
  }
  PackedKVCache cache = make_cache({.keys = "rabitq:2"});
  cache.append(random_vectors({1, 2, 20, 64}, 1));
  const KeySearch search(cache);
  const Tensor query = random_vectors({64}, 2);
  for (const auto& [row, head] : std::vector<std::pair<int, int>>{{-1, 0}, {1, 0}, {0, -1}, {0, 2}})
    EXPECT_THROW(search.search(row, head, query), ShapeError);
  EXPECT_THROW(search.search(0, 0, random_vectors({32}, 2)), ShapeError);
  EXPECT_THROW(search.search(0, 0, query.to(DType::f64)), DTypeError);
  EXPECT_THROW(search.search(0, 0, query, {.top_k = -3}), ConfigError);
  EXPECT_THROW(search.search(0, 0, query, {.eps0 = NAN}), ConfigError);
  EXPECT_EQ(search.search(0, 0, query, {.top_k = 100}).neighbours.size(), 20u);
}

}  // namespace
}  // namespace veloxquant
