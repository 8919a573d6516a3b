#include "eval/noise.hpp"

#include <algorithm>
#include <utility>

#include "transform/random.hpp"

namespace veloxquant {
namespace {

Tensor normal_noise(Shape shape, NormalSource& source) {
  Tensor tensor = Tensor::empty(std::move(shape), DType::f32);
  for (float& value : tensor.span<float>()) value = static_cast<float>(source.next());
  return tensor;
}

}  // namespace

NoiseTokens::NoiseTokens(const KVCacheOptions& options, std::int64_t count) {
  const Shape shape = {1, options.kv_heads, count, options.head_dim};
  NormalSource source(0);
  keys = normal_noise(shape, source);
  values = normal_noise(shape, source);
}

void append_noise(const Caches& caches, const NoiseTokens& noise, std::int64_t tokens) {
  const std::int64_t chunk = noise.keys.dim(2);
  for (std::int64_t begin = 0; begin < tokens; begin += chunk) {
    const std::int64_t count = std::min(chunk, tokens - begin);
    for (const auto& cache : caches)
      cache->append(noise.keys.slice(2, 0, count), noise.values.slice(2, 0, count));
  }
}

}  // namespace veloxquant
