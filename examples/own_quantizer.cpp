// A user's own quantizer, registered from outside, in a cache like any built-in method.
//
// It keeps the sign and one scale per vector (the mean magnitude): 1 bit a coordinate plus 16.
#include <cmath>
#include <cstdio>
#include <veloxquant/veloxquant.hpp>

using namespace veloxquant;

class SignQuantizer final : public Quantizer {
 public:
  explicit SignQuantizer(const QuantizerOptions&) {}

  EncodedVector encode(const Tensor& x) const override {
    const std::int64_t d = x.dim(3), rows = x.numel() / d;
    EncodedVector e{Tensor::zeros({x.dim(0), x.dim(1), x.dim(2), d / 8}, DType::u8),
                    Tensor::zeros({x.dim(0), x.dim(1), x.dim(2), 1}, DType::f32),
                    {},
                    x.shape(),
                    x.dtype()};
    const Tensor in = x.contiguous().to(DType::f32);
    for (std::int64_t i = 0; i < rows * d; ++i) {
      const float v = in.data<float>()[i];
      e.scale->data<float>()[i / d] += std::fabs(v) / static_cast<float>(d);
      if (v > 0) e.indices.data<std::uint8_t>()[i / 8] |= static_cast<std::uint8_t>(1 << i % 8);
    }
    return e;
  }

  Tensor decode(const EncodedVector& e) const override {
    Tensor x = Tensor::empty(e.original_shape, DType::f32);
    for (std::int64_t i = 0; i < x.numel(); ++i) {
      const float s = e.scale->data<float>()[i / x.dim(3)];
      x.data<float>()[i] = (e.indices.data<std::uint8_t>()[i / 8] >> i % 8 & 1) != 0 ? s : -s;
    }
    return x.to(e.dtype);
  }
};

VELOXQUANT_REGISTER_QUANTIZER("sign", SignQuantizer);

int main() {
  KVCacheOptions options{.kv_heads = 2, .head_dim = 64};
  options.keys = MethodSpec::parse("sign:1");
  options.values = MethodSpec::parse("trellis:2");
  PackedKVCache cache(std::make_shared<const KVCacheConfig>(options), 0);

  Tensor x = Tensor::empty({1, 2, 256, 64}, DType::f32);
  for (std::int64_t i = 0; i < x.numel(); ++i)
    x.data<float>()[i] = std::sin(0.1f * static_cast<float>(i * i % 4099));
  cache.append(x);
  const Tensor out = cache.attend(x.slice(2, 255, 256));
  std::printf("keys by 'sign', values by 'trellis': %lld tokens in %zu bytes, out[0] = %g\n",
              static_cast<long long>(cache.size()), cache.nbytes(),
              static_cast<double>(out.data<float>()[0]));
  return std::isfinite(out.data<float>()[0]) ? 0 : 1;
}
