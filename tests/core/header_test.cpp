// The umbrella header brings in the names of the API page.
#include <gtest/gtest.h>

#include <type_traits>
#include <veloxquant/veloxquant.hpp>

namespace veloxquant {
namespace {

TEST(Api, NamesOfTheApiPageExist) {
  EXPECT_TRUE(std::is_abstract_v<Quantizer>);
  EXPECT_TRUE(std::is_abstract_v<KVCache>);
  EXPECT_TRUE(std::is_abstract_v<Preconditioner>);
  EXPECT_TRUE(std::is_abstract_v<Codebook>);
  const QuantizationContext context{"layers.0", 3, nullptr, nullptr};
  EXPECT_EQ(context.step, 3);
  const TransformResult transformed{};
  EXPECT_FALSE(transformed.output.defined());
  const auto q = QuantizerFactory::create("turboquant_mse", {.bits = 2, .head_dim = 32});
  const Tensor x = Tensor::zeros({1, 1, 1, 32}, DType::f32);
  const EncodedVector e = q->encode_values(x);
  EXPECT_EQ(q->decode_values(e).shape(), x.shape());
}

}  // namespace
}  // namespace veloxquant
