#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <veloxquant/core/error.hpp>
#include <veloxquant/core/registry.hpp>
#include <veloxquant/quantizers/vector_quantizer.hpp>

namespace veloxquant {
namespace {

// Keeps the upper 16 bits of each float: a method from outside that implements Quantizer alone.
class Halves final : public Quantizer {
 public:
  explicit Halves(const QuantizerOptions&) {}
  EncodedVector encode(const Tensor& x) const override {
    EncodedVector e;
    e.indices = x.to(DType::bf16);
    e.original_shape = x.shape();
    e.dtype = x.dtype();
    return e;
  }
  Tensor decode(const EncodedVector& e) const override { return e.indices.to(DType::f32).to(e.dtype); }
};
VELOXQUANT_REGISTER_QUANTIZER("halves", Halves);

TEST(Registry, OutsideMethodsStandBesideBuiltIns) {
  const auto names = QuantizerRegistry::names();
  for (const char* name :
       {"halves", "turboquant_mse", "trellis", "rabitq", "fp16", "bf16", "fp8", "q8_0", "q4_0", "affine"}) {
    EXPECT_NE(std::find(names.begin(), names.end(), name), names.end()) << name;
  }
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
}

// At start-up, before any other use of the registry: a program must not be able to put a method of its own
// in the place of a built-in one, or to break them all by trying.
const std::string kRefusedAtStartUp = [] {
  try {
    QuantizerRegistry::add("trellis",
                           [](const QuantizerOptions& o) { return std::make_shared<const Halves>(o); });
  } catch (const ConfigError& e) {
    return std::string(e.what());
  }
  return std::string();
}();

TEST(Registry, NamesOfBuiltInsAreTaken) {
  EXPECT_NE(kRefusedAtStartUp.find("'trellis' is registered already"), std::string::npos)
      << kRefusedAtStartUp;
  EXPECT_NE(QuantizerFactory::create("fp16", {.bits = 16, .head_dim = 64}), nullptr);
}

TEST(Registry, RefusalsListWhatExists) {
  try {
    QuantizerFactory::create("turboquant", {.head_dim = 64});
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("turboquant_mse"), std::string::npos);
  }
  EXPECT_THROW(QuantizerRegistry::add("halves", [](const QuantizerOptions&) { return nullptr; }),
               ConfigError);
  EXPECT_THROW(QuantizerRegistry::add("a:b", [](const QuantizerOptions&) { return nullptr; }), ConfigError);
  EXPECT_THROW(QuantizerRegistry::add("", [](const QuantizerOptions&) { return nullptr; }), ConfigError);
  EXPECT_THROW(QuantizerFactory::create("trellis", {.bits = 5, .head_dim = 64}), ConfigError);
  EXPECT_THROW(QuantizerFactory::create("trellis", {.bits = 2}), ConfigError);
  EXPECT_THROW(QuantizerFactory::create("trellis", {.bits = 2, .head_dim = 63}), ConfigError);
}

TEST(Registry, OptionsThatAMethodDoesNotTakeAreRefused) {
  EXPECT_THROW(QuantizerFactory::create("fp16", {.bits = 16, .head_dim = 64, .transform = "hadamard"}),
               ConfigError);
  EXPECT_THROW(QuantizerFactory::create("q8_0", {.bits = 8, .head_dim = 64, .scale = ScaleMode::one}),
               ConfigError);
  EXPECT_THROW(QuantizerFactory::create("trellis", {.bits = 2, .head_dim = 64, .group = 32}), ConfigError);
  EXPECT_THROW(QuantizerFactory::create("trellis", {.bits = 2, .head_dim = 64, .extra = {{"colour", "red"}}}),
               ConfigError);
  EXPECT_THROW(QuantizerFactory::create("rabitq", {.bits = 4, .head_dim = 64, .scale = ScaleMode::one}),
               ConfigError)
      << "its points have no norm of their own";
  EXPECT_THROW(QuantizerFactory::create("rabitq", {.bits = 4, .head_dim = 64, .extra = {{"centres", "64"}}}),
               ConfigError);
  EXPECT_THROW(QuantizerFactory::create("rabitq", {.bits = 9, .head_dim = 64}), ConfigError);
  EXPECT_THROW(QuantizerFactory::create("spectral", {.bits = 2, .head_dim = 64}), ConfigError)
      << "takes a budget";
  EXPECT_THROW(QuantizerFactory::create("affine", {.bits = 4, .head_dim = 64, .seed = 7}), ConfigError);
  EXPECT_THROW(
      QuantizerFactory::create("trellis", {.bits = 2, .head_dim = 64, .transform = "none", .seed = 7}),
      ConfigError);
  EXPECT_NO_THROW(
      QuantizerFactory::create("affine", {.bits = 4, .head_dim = 64, .transform = "haar", .seed = 7}));
  EXPECT_THROW(QuantizerFactory::create("trellis", {.bits = 2, .head_dim = 64, .transform = "fft"}),
               ConfigError);
  EXPECT_THROW(QuantizerFactory::create("trellis", {.bits = 2, .head_dim = 64, .centre = true}),
               ArtifactError);
}

TEST(Registry, EveryBuiltInEncodesAndDecodesByTheContract) {
  for (const std::string& name : QuantizerRegistry::names()) {
    const MethodInfo info = QuantizerRegistry::info(name);
    if (info.needs.find("artifacts") != std::string::npos) continue;  // tests/calibration
    for (const int bits : info.bits.empty() ? std::vector<int>{16} : info.bits) {
      const auto q = QuantizerFactory::create(name, {.bits = bits, .head_dim = 64});
      Tensor x = Tensor::empty({2, 3, 5, 64}, DType::f32);
      for (std::int64_t i = 0; i < x.numel(); ++i)
        x.data<float>()[i] = static_cast<float>((i * 7919) % 101 - 50) / 25.0f;
      for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
        const EncodedVector e = q->encode(x.to(dtype));
        EXPECT_EQ(e.original_shape, x.shape());
        EXPECT_EQ(e.dtype, dtype);
        const Tensor y = q->decode(e);
        EXPECT_EQ(y.shape(), x.shape());
        EXPECT_EQ(y.dtype(), dtype);
        if (q->bits_per_element() > 0) {
          EXPECT_DOUBLE_EQ(8.0 * static_cast<double>(e.nbytes()) / static_cast<double>(x.numel()),
                           q->bits_per_element())
              << name;
        }
      }
      if (name != "halves") {
        EXPECT_THROW(q->encode(x.reshape({6, 5, 64})), ShapeError) << name;
      }
    }
  }
}

// Bytes of another quantizer would decode to nonsense.
TEST(VectorQuantizer, DecodesItsOwnCodesOnly) {
  const auto make = [](const char* name, std::uint64_t seed, ScaleMode scale = ScaleMode::unbiased) {
    return QuantizerFactory::create(name, {.bits = 4, .head_dim = 64, .scale = scale, .seed = seed});
  };
  Tensor x = Tensor::empty({1, 2, 3, 64}, DType::f32);
  for (std::int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = static_cast<float>(i * 7919 % 101 - 50);
  const auto method = make("turboquant_mse", 1);
  EncodedVector code = method->encode(x);
  EXPECT_EQ(std::get<std::string>(code.metadata.at("code")), method->code_spec()->name());
  EXPECT_NO_THROW(make("turboquant_mse", 1)->decode(code));
  EXPECT_THROW(make("turboquant_mse", 2)->decode(code), ConfigError);
  EXPECT_THROW(make("turboquant_mse", 1, ScaleMode::one)->decode(code), ConfigError);
  EXPECT_THROW(make("trellis", 1)->decode(code), ConfigError);
  code.metadata.clear();  // bytes that a program has kept
  EXPECT_NO_THROW(method->decode(code));
}

// 65000 in every coordinate: codes of 2 bits give values back that no f16 holds.
TEST(VectorQuantizer, DecodesNoSilentInfinity) {
  const auto method = QuantizerFactory::create("turboquant_mse", {.bits = 2, .head_dim = 64});
  Tensor x = Tensor::empty({1, 1, 1, 64}, DType::f32);
  for (std::int64_t i = 0; i < 64; ++i)
    x.data<float>()[i] = 65000.0f * static_cast<float>((i * 7919 % 13) - 6) / 6;
  EncodedVector code = method->encode(x.to(DType::f16));
  EXPECT_THROW(method->decode(code), NumericError);
  code.dtype = DType::f32;
  float largest = 0;
  const Tensor decoded = method->decode(code);
  for (const float value : decoded.span<const float>()) largest = std::max(largest, std::abs(value));
  EXPECT_GT(largest, 65520);
}

TEST(VectorQuantizer, WrapsAMethodFromOutside) {
  const auto wrapped =
      as_vector_quantizer(QuantizerFactory::create("halves", {.bits = 16, .head_dim = 8}), Role::keys, 8);
  EXPECT_EQ(wrapped->code_bytes(0), 16u);
  EXPECT_EQ(wrapped->scale_bytes(0), 0u);
  const std::vector<float> rows = {1, 2, 3, 4, 5, 6, 7, 8, -1, -2, -3, -4, -5, -6, -7, -8};
  std::vector<std::uint8_t> codes(32);
  wrapped->encode_rows(rows.data(), 2, 0, codes.data(), nullptr);
  std::vector<float> back(16);
  wrapped->decode_rows(codes.data(), nullptr, 2, 0, back.data());
  EXPECT_EQ(back, rows);
}

}  // namespace
}  // namespace veloxquant
