// Tiny random models of every family against the logits that transformers computes
// (tools/make_tiny_models.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>
#include <veloxquant/io/safetensors.hpp>
#include <veloxquant/models/decoder.hpp>

#include "models/fixtures.hpp"
#include "models/linear.hpp"

namespace veloxquant {
namespace {

using testing::caches_for;

struct Expected {
  std::vector<std::uint32_t> tokens;
  Tensor logits;
};

Expected expected_of(const std::filesystem::path& folder) {
  const SafetensorsFile file = SafetensorsFile::open(folder / "expected.safetensors");
  const Tensor tokens = file.tensor("tokens");
  const auto ids = tokens.span<std::int32_t>();
  return {{ids.begin(), ids.end()}, file.tensor("logits").copy()};
}

double largest_difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape(), b.shape());
  double worst = 0;
  for (std::size_t i = 0; i < a.span<float>().size(); ++i) {
    worst = std::max(worst, std::abs(double{a.span<float>()[i]} - b.span<float>()[i]));
  }
  return worst;
}

class TinyModel : public ::testing::TestWithParam<const char*> {
 protected:
  std::filesystem::path folder() const { return testing::kTinyModels / GetParam(); }
  Decoder load(Arithmetic arithmetic, int threads = 2) const {
    return Decoder::load(folder(), {arithmetic, threads});
  }
};

TEST_P(TinyModel, LogitsAreThoseOfTransformers) {
  const Expected expected = expected_of(folder());
  Decoder model = load(Arithmetic::fp32);
  EXPECT_EQ(model.arithmetic(), Arithmetic::fp32);
  const auto caches = caches_for(model);
  EXPECT_LT(largest_difference(model.forward(expected.tokens, caches), expected.logits), 2e-4);
}

// Pieces of one token go through gemv, longer ones through oneDNN.
TEST_P(TinyModel, PiecesGiveWhatTheWholeGives) {
  const Expected expected = expected_of(folder());
  Decoder model = load(Arithmetic::fp32);
  const std::int64_t vocab = model.config().vocab;
  for (const std::size_t piece : {1, 4, 16}) {
    const auto caches = caches_for(model);
    for (std::size_t begin = 0; begin < expected.tokens.size(); begin += piece) {
      const std::size_t count = std::min(piece, expected.tokens.size() - begin);
      const Tensor logits = model.forward(std::span(expected.tokens).subspan(begin, count), caches);
      const auto first = static_cast<std::int64_t>(begin);
      const Tensor part = expected.logits.slice(0, first, first + static_cast<std::int64_t>(count));
      EXPECT_LT(largest_difference(logits, part.reshape({static_cast<std::int64_t>(count), vocab})), 2e-4)
          << begin;
    }
  }
}

TEST_P(TinyModel, Bf16ArithmeticStaysNear) {
  if (bf16_support() == Bf16Support::none) GTEST_SKIP() << "this CPU has no bf16 products";
  const Expected expected = expected_of(folder());
  Decoder model = load(Arithmetic::bf16);
  const double difference =
      largest_difference(model.forward(expected.tokens, caches_for(model)), expected.logits);
  EXPECT_LT(difference, 0.3);   // 8 bits through two layers, logits of spread 1.5
  EXPECT_GT(difference, 1e-4);  // it is not fp32 by another name
}

INSTANTIATE_TEST_SUITE_P(Families, TinyModel,
                         ::testing::Values("llama3_rope", "llama_linear_bias", "mistral_window",
                                           "qwen2_bias_window", "qwen3_norm"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace veloxquant
