// Appending: check everything, code into pages that nobody reads yet, then publish without throwing.

#include <fmt/format.h>

#include <cstring>
#include <optional>
#include <span>
#include <vector>
#include <veloxquant/core/error.hpp>

#include "cache/cache_state.hpp"
#include "core/input.hpp"

namespace veloxquant {
namespace {

constexpr const char* kOperation = "append";

// Checked vectors [batch, kv_heads, new, head_dim] in f32.
struct Vectors {
  Tensor tensor;
  const float* at(int row, int head, std::int64_t token) const {
    const Shape& s = tensor.shape();
    return tensor.data<float>() + ((row * s[1] + head) * s[2] + token) * s[3];
  }
};

// What an append is going to write: the new vectors and, per row, how many and where they stand in the text.
struct NewTokens {
  Vectors keys, values;
  std::vector<std::int64_t> lengths;
  std::vector<std::vector<std::int64_t>> positions;
};

Vectors check_vectors(const CacheState& cache, const Tensor& x, const char* what) {
  Vectors vectors{checked_vectors(x, cache.options().head_dim, kOperation)};
  const Shape& shape = vectors.tensor.shape();
  if (shape[0] != cache.options().batch || shape[1] != cache.options().kv_heads) {
    throw ShapeError(kOperation, fmt::format("{} of shape {}, need [{}, {}, new, {}]", what, to_string(shape),
                                             cache.options().batch, cache.options().kv_heads, shape[3]));
  }
  return vectors;
}

// Positions of the new tokens of each row, which grow along the row; by default they count on.
std::vector<std::vector<std::int64_t>> check_positions(const CacheState& cache, const Tensor& given,
                                                       std::span<const std::int64_t> lengths, std::int64_t count) {
  std::optional<Tensor> table;
  if (given.defined()) {
    if (given.dtype() != DType::i64) {
      throw DTypeError(kOperation, fmt::format("positions are {}, need i64", to_string(given.dtype())));
    }
    const auto batch = static_cast<std::int64_t>(lengths.size());
    if (given.shape() != Shape{count} && given.shape() != Shape{batch, count}) {
      throw ShapeError(kOperation, fmt::format("positions of shape {}, need [{}] or [{}, {}]", to_string(given.shape()),
                                               count, batch, count));
    }
    table = given.contiguous();
  }
  std::vector<std::vector<std::int64_t>> positions(lengths.size());
  for (std::size_t b = 0; b < lengths.size(); ++b) {
    std::int64_t next = cache.rows[b].positions.next(cache.rows[b].size);
    positions[b].reserve(static_cast<std::size_t>(lengths[b]));
    const std::int64_t* row = nullptr;
    if (table) row = table->data<std::int64_t>() + (table->rank() == 2 ? static_cast<std::int64_t>(b) * count : 0);
    for (std::int64_t i = 0; i < lengths[b]; ++i) {
      const std::int64_t position = row != nullptr ? row[i] : next;
      if (position < next || position == INT64_MAX) {
        throw ConfigError(kOperation, fmt::format("position {} of new token {} in row {}, must be at least {} and below "
                                                  "2^63 - 1: positions grow along a row",
                                                  position, i, b, next));
      }
      positions[b].push_back(position);
      next = position + 1;
    }
  }
  return positions;
}

NewTokens check_input(const CacheState& cache, const Tensor& keys, const Tensor& values,
                      std::span<const std::int64_t> lengths, const Tensor& positions) {
  NewTokens input;
  input.keys = check_vectors(cache, keys, "keys");
  input.values = values.defined() ? check_vectors(cache, values, "values") : input.keys;
  if (input.values.tensor.shape() != input.keys.tensor.shape()) {
    throw ShapeError(kOperation, fmt::format("values of shape {} beside keys of shape {}; they must be equal",
                                             to_string(values.shape()), to_string(keys.shape())));
  }
  const std::int64_t count = keys.dim(2);
  input.lengths = row_lengths(lengths, cache.rows.size(), count, kOperation);
  input.positions = check_positions(cache, positions, input.lengths, count);
  return input;
}

// The pages of one row that an append writes to. A last page that is partly filled and not shared is written in
// place, behind what is read; every other page is new until it is published.
struct RowPages {
  std::size_t begin = 0;     // index in the row's list of the first page that is written
  bool first_in_place = false;  // one page per head is
  std::vector<std::uint8_t*> targets;
  PageList fresh;
};

// One item of coding: tokens [first, first + count) of the new ones of a row, for one head, into one page.
struct CodingItem {
  int row, head;
  std::int64_t first;
  int slot, count;
  std::uint8_t* page;
};

RowPages stage_pages(const CacheState& cache, const CacheRow& row, std::int64_t coded, std::int64_t coded_after) {
  const auto heads = static_cast<std::size_t>(cache.options().kv_heads);
  RowPages staged{.begin = static_cast<std::size_t>(coded / kPageTokens) * heads, .first_in_place = false, .targets = {},
                  .fresh = PageList(cache.layout.bytes())};
  const std::size_t end = static_cast<std::size_t>(pages_for(coded_after)) * heads;
  for (std::size_t i = staged.begin; i < end; ++i) {
    const bool exists = i < row.pages.size();
    if (exists && !row.pages.shared(i)) {
      staged.targets.push_back(row.pages[i]);
    } else {
      staged.targets.push_back(staged.fresh.add(exists ? row.pages[i] : nullptr));
    }
  }
  return staged;
}

}  // namespace
}  // namespace veloxquant
