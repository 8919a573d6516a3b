// What the tests of calibrated methods hold against caches and artifacts.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>
#include <veloxquant/cache/packed_kv_cache.hpp>
#include <veloxquant/core/artifact_store.hpp>

namespace veloxquant::testing {

// Softmax attention on what state() gives back, in double precision: [query heads, new tokens, dim].
inline std::vector<double> attend_by_definition(const std::pair<Tensor, Tensor>& state,
                                                const Tensor& queries) {
  const Tensor keys = state.first.contiguous(), values = state.second.contiguous();
  const std::int64_t tokens = keys.dim(2), dim = keys.dim(3), group = queries.dim(1) / keys.dim(1),
                     fresh = queries.dim(2);
  std::vector<double> out;
  for (std::int64_t h = 0; h < queries.dim(1); ++h) {
    for (std::int64_t n = 0; n < fresh; ++n) {
      const float* q = queries.data<const float>() + (h * fresh + n) * dim;
      std::vector<double> sum(static_cast<std::size_t>(dim));
      double total = 0;
      for (std::int64_t t = 0; t < tokens - fresh + 1 + n; ++t) {
        const std::int64_t at = (h / group * tokens + t) * dim;
        double score = 0;
        for (std::int64_t c = 0; c < dim; ++c)
          score += static_cast<double>(q[c]) * static_cast<double>(keys.data<const float>()[at + c]);
        const double weight = std::exp(score / std::sqrt(static_cast<double>(dim)));
        total += weight;
        for (std::int64_t c = 0; c < dim; ++c)
          sum[static_cast<std::size_t>(c)] +=
              weight * static_cast<double>(values.data<const float>()[at + c]);
      }
      for (const double x : sum) out.push_back(x / total);
    }
  }
  return out;
}

// |out - wanted| / |wanted| of what a cache attends to its own decoded history.
inline double attention_error(const PackedKVCache& cache, const Tensor& queries) {
  const Tensor out = cache.attend(queries, 0, {}).contiguous();
  const std::vector<double> wanted = attend_by_definition(cache.state(), queries);
  double error = 0, energy = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const double is = static_cast<double>(out.data<const float>()[i]);
    error += (is - wanted[i]) * (is - wanted[i]);
    energy += wanted[i] * wanted[i];
  }
  return std::sqrt(error / energy);
}

inline std::vector<float> numbers_of(const Tensor& tensor) {
  const Tensor whole = tensor.contiguous();
  return {whole.data<const float>(), whole.data<const float>() + whole.numel()};
}

// Every bit of the decoded history.
inline bool same_history(const PackedKVCache& one, const PackedKVCache& other) {
  const auto [k, v] = one.state();
  const auto [other_k, other_v] = other.state();
  return numbers_of(k) == numbers_of(other_k) && numbers_of(v) == numbers_of(other_v);
}

// The artifacts with one number of a tensor replaced, or one fact.
inline std::shared_ptr<const ArtifactStore> with_number(ArtifactStore store, const std::string& name,
                                                        std::int64_t index, float number) {
  Tensor tensor = store.get(name, "test").copy();
  tensor.data<float>()[index] = number;
  store.put(name, tensor);
  return std::make_shared<const ArtifactStore>(std::move(store));
}
inline std::shared_ptr<const ArtifactStore> with_fact(ArtifactStore store, const std::string& name,
                                                      const std::string& value) {
  store.set_fact(name, value);
  return std::make_shared<const ArtifactStore>(std::move(store));
}

}  // namespace veloxquant::testing
