// An outside project: a compressed cache under its own attention, in a few lines.
#include <cmath>
#include <cstdio>
#include <vector>
#include <veloxquant/veloxquant.hpp>

int main() {
  using namespace veloxquant;
  KVCacheOptions options{.kv_heads = 2, .head_dim = 64};
  options.keys = options.values = MethodSpec::parse("turboquant_mse:4");
  PackedKVCache cache(std::make_shared<const KVCacheConfig>(options), 0);

  Tensor kv = Tensor::empty({1, 2, 100, 64}, DType::f32);
  for (std::int64_t i = 0; i < kv.numel(); ++i)
    kv.data<float>()[i] = std::sin(0.37f * static_cast<float>(i * i % 1009));
  cache.append(kv);
  const Tensor out = cache.attend(kv.slice(2, 99, 100));
  std::printf("%lld tokens in %zu bytes, attention of shape %s\n", static_cast<long long>(cache.size()),
              cache.nbytes(), to_string(out.shape()).c_str());
  return cache.size() == 100 && std::isfinite(out.data<float>()[0]) ? 0 : 1;
}
