// KeySearch: the keys of a cache that have the largest inner product with a query.
//
// Beside the cache it holds the signs of the coded keys, one bit a coordinate, with a factor (f16) and an
// sine of their angle (one byte) for each: 1 + 24 / d bits per element. A search reads these, and of the
// codes in the cache only those keys that the margins cannot exclude (neighbours.hpp). Estimates and scores
// are of the keys as the cache gives them back; tokens that are read exact count with their exact keys, and a
// mean that the method takes out (`centre`) with the query.
//
// Served are methods of keys with a code that the library knows behind a random rotation, which is what
// margins rest on: `rabitq`, `turboquant_mse`, `trellis`, and the integer methods with transform=hadamard or
// haar.
//
// search() is const and may run from several threads, and beside const calls of the cache. What it knows is
// what refresh() read: call that after append, trim or load.
#pragma once

#include <cstdint>
#include <memory>

#include <veloxquant/cache/packed_kv_cache.hpp>
#include <veloxquant/search/neighbours.hpp>

namespace veloxquant {

class KeySearch {
 public:
  // The cache must outlive the search. Throws UnsupportedError when its method of keys is not
  // served.
  explicit KeySearch(const PackedKVCache& cache);
  ~KeySearch();
  KeySearch(KeySearch&&) noexcept;
  KeySearch& operator=(KeySearch&&) noexcept;

  // Reads the tokens appended since the last time; after trim() or load() all of them. Needs exclusive
  // access.
  void refresh();
  // query [head_dim] of f32, f16 or bf16, for KV head `head` of row `row` of the batch. Indices count the
  // tokens of the row, scores are not divided by sqrt(head_dim). Throws ShapeError, DTypeError, NumericError,
  // and ConfigError for wrong options or when the cache has changed since refresh().
  SearchResult search(int row, int head, const Tensor& query, const SearchOptions& options = {}) const;

  // Bytes held beside the cache.
  std::size_t nbytes() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace veloxquant
