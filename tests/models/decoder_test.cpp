// The decoder's manners: what it refuses, what a failed call leaves behind, rows, observers, threads,
// warnings.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <veloxquant/core/error.hpp>
#include <veloxquant/models/decoder.hpp>

#include "models/fixtures.hpp"
#include "models/linear.hpp"

namespace veloxquant {
namespace {

using testing::caches_for;
using ::testing::HasSubstr;
using ::testing::Optional;

Decoder tiny(const char* name = "qwen3_norm", int threads = 1) {
  return Decoder::load(testing::kTinyModels / name, {Arithmetic::fp32, threads});
}

std::vector<std::uint32_t> some_tokens(std::size_t count) {
  std::vector<std::uint32_t> tokens(count);
  for (std::size_t i = 0; i < count; ++i) tokens[i] = static_cast<std::uint32_t>(i * 7 % 50);
  return tokens;
}

template <class Call>
std::string refusal(const Call& call) {
  try {
    call();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Decoder, RefusesTokensAndCachesThatDoNotFit) {
  Decoder model = tiny();
  const auto tokens = some_tokens(3);
  auto caches = caches_for(model);
  EXPECT_THAT(refusal([&] { model.forward({}, caches); }), HasSubstr("no tokens"));
  const std::vector<std::uint32_t> foreign = {1, 50};
  EXPECT_THAT(refusal([&] { model.forward(foreign, caches); }),
              HasSubstr("token 50 at index 1 is outside the vocabulary of 50"));
  EXPECT_THAT(refusal([&] { model.forward(tokens, LayerCaches(caches).first(1)); }),
              HasSubstr("1 caches were given for 2 layers"));
  Decoder wider = tiny("llama_linear_bias");
  EXPECT_THAT(refusal([&] { wider.forward(tokens, caches); }), HasSubstr("2 KV heads of 16"));
  model.forward(tokens, caches);
  caches[1]->trim(1);
  EXPECT_THAT(refusal([&] { model.forward(tokens, caches); }),
              HasSubstr("layer 1 holds 2 tokens, that of layer 0 3"));
  caches[1].reset();
  EXPECT_THAT(refusal([&] { model.forward(tokens, caches); }), HasSubstr("layer 1 is null"));
  EXPECT_THROW(model.logits(Tensor::zeros({2, 23}, DType::f32)), ShapeError);
  EXPECT_THROW(model.logits(Tensor::zeros({2, 24}, DType::bf16)), DTypeError);
  EXPECT_THROW(Decoder::load(testing::kSource / "no such folder"), IoError);
}

TEST(Decoder, AFailedCallLeavesTheCachesAsLongAsTheyWere) {
  Decoder model = tiny();
  const auto caches = caches_for(model);
  const auto tokens = some_tokens(6);
  model.forward(std::span(tokens).first(4), caches);
  ForwardOptions failing;
  failing.observer = [](int layer, const LayerActivations&) {
    if (layer == 1) throw std::runtime_error("enough");
  };
  EXPECT_THROW(model.forward(std::span(tokens).last(2), caches, failing), std::runtime_error);
  for (const auto& cache : caches) EXPECT_EQ(cache->size(), 4);

  const Tensor after = model.forward(std::span(tokens).last(2), caches);
  const auto fresh = caches_for(model);
  model.forward(std::span(tokens).first(4), fresh);
  const Tensor expected = model.forward(std::span(tokens).last(2), fresh);
  EXPECT_TRUE(std::ranges::equal(after.span<float>(), expected.span<float>()));
}

TEST(Decoder, ReturnsTheRowsAskedFor) {
  Decoder model = tiny();
  const auto tokens = some_tokens(9);
  const Tensor all = model.forward(tokens, caches_for(model));
  EXPECT_EQ(all.shape(), (Shape{9, 50}));
  const auto rows_from = [&](std::int64_t first) {
    return model.forward(tokens, caches_for(model), {.first_row = first, .observer = {}});
  };
  EXPECT_EQ(rows_from(kNoRows).shape(), (Shape{0, 50}));
  EXPECT_EQ(rows_from(-100).shape(), (Shape{9, 50}));
  for (const auto& [first, count] : {std::pair<std::int64_t, std::int64_t>{kLastRow, 1}, {6, 3}, {-2, 2}}) {
    const Tensor some = rows_from(first);
    ASSERT_EQ(some.shape(), (Shape{count, 50}));
    const auto expected = all.slice(0, 9 - count, 9).contiguous();
    for (std::size_t i = 0; i < some.span<float>().size(); ++i) {
      EXPECT_NEAR(some.span<float>()[i], expected.span<float>()[i], 1e-5);
    }
  }
}

TEST(Decoder, LogitsOfPiecesAreThoseOfTheWhole) {
  Decoder model = tiny();
  const auto tokens = some_tokens(40);
  const Tensor hidden = model.forward_hidden(tokens, caches_for(model));
  EXPECT_EQ(hidden.shape(), (Shape{40, 24}));
  const Tensor whole = model.logits(hidden), part = model.logits(hidden.slice(0, 10, 30));
  for (std::size_t i = 0; i < part.span<float>().size(); ++i) {
    EXPECT_NEAR(part.span<float>()[i], whole.span<float>()[10 * 50 + i], 1e-5);
  }
}

TEST(Decoder, ObserversSeeWhatTheCacheWasGiven) {
  Decoder model = tiny();
  const auto caches = caches_for(model);
  const auto tokens = some_tokens(8);
  model.forward(std::span(tokens).first(3), caches);
  std::vector<int> layers;
  ForwardOptions options;
  options.observer = [&](int layer, const LayerActivations& seen) {
    layers.push_back(layer);
    EXPECT_EQ(seen.queries.shape(), (Shape{1, 4, 5, 16}));
    EXPECT_EQ(seen.attention.shape(), seen.queries.shape());
    const PackedKVCache& cache = *caches[static_cast<std::size_t>(layer)];
    const auto [keys, values] = cache.state();
    const Tensor new_keys = keys.slice(2, 3, 8).contiguous(), new_values = values.slice(2, 3, 8).contiguous();
    EXPECT_TRUE(std::ranges::equal(seen.keys.span<float>(), new_keys.span<float>()));
    EXPECT_TRUE(std::ranges::equal(seen.values.span<float>(), new_values.span<float>()));
    const Tensor again = cache.attend(seen.queries);
    EXPECT_TRUE(std::ranges::equal(seen.attention.span<float>(), again.span<float>()));
  };
  model.forward(std::span(tokens).last(5), caches, options);
  EXPECT_THAT(layers, ::testing::ElementsAre(0, 1));
}

TEST(Decoder, ResultsDoNotDependOnThreads) {
  const auto tokens = some_tokens(300);
  Decoder one = tiny("mistral_window", 1), three = tiny("mistral_window", 3);
  const Tensor a = one.forward(tokens, caches_for(one)), b = three.forward(tokens, caches_for(three));
  EXPECT_TRUE(std::ranges::equal(a.span<float>(), b.span<float>()));
}

TEST(Decoder, RunsBeyondItsLimitAndWarns) {
  Decoder model = tiny();
  EXPECT_EQ(model.warning(64), std::nullopt);
  EXPECT_THAT(model.warning(65), Optional(HasSubstr("65 tokens are more than the 64")));
  const auto caches = caches_for(model);
  model.forward(some_tokens(100), caches, {.first_row = kNoRows, .observer = {}});
  EXPECT_EQ(caches[0]->size(), 100);
}

TEST(Decoder, GreedyGenerationIsRepeatedArgMax) {
  Decoder model = tiny();
  const auto prompt = some_tokens(5);
  const auto caches = caches_for(model);
  const auto generated = model.generate_greedy(prompt, 6, caches);
  ASSERT_EQ(generated.size(), 6u);
  EXPECT_EQ(caches[0]->size(), 10);
  std::vector<std::uint32_t> text = prompt;
  for (const std::uint32_t token : generated) {
    const Tensor logits = model.forward(text, caches_for(model), {.first_row = kLastRow, .observer = {}});
    const auto row = logits.span<float>();
    EXPECT_EQ(token, static_cast<std::uint32_t>(std::ranges::max_element(row) - row.begin()));
    text.push_back(token);
  }
  EXPECT_TRUE(model.generate_greedy(prompt, 0, caches_for(model)).empty());
  EXPECT_THAT(refusal([&] { model.generate_greedy({}, 1, caches); }), HasSubstr("no tokens"));
  EXPECT_THAT(refusal([&] { model.generate_greedy(prompt, -1, caches); }), HasSubstr("-1 tokens"));
}

TEST(Decoder, ArithmeticByName) {
  EXPECT_EQ(arithmetic_from("bf16"), Arithmetic::bf16);
  EXPECT_THROW(arithmetic_from("fp64"), ConfigError);
  const auto load = [](const char* name, Arithmetic arithmetic) {
    return Decoder::load(testing::kTinyModels / name, {arithmetic, 1});
  };
  // f32 and f16 weights do not fit bf16, so nothing rounds them unasked.
  EXPECT_EQ(load("llama_linear_bias", Arithmetic::automatic).arithmetic(), Arithmetic::fp32);
  EXPECT_EQ(load("qwen2_bias_window", Arithmetic::automatic).arithmetic(), Arithmetic::fp32);
  const bool native = bf16_support() == Bf16Support::native;
  EXPECT_EQ(load("qwen3_norm", Arithmetic::automatic).arithmetic(),
            native ? Arithmetic::bf16 : Arithmetic::fp32);
  if (bf16_support() == Bf16Support::none) {
    EXPECT_THROW(load("qwen3_norm", Arithmetic::bf16), UnsupportedError);
  } else {
    EXPECT_EQ(load("qwen3_norm", Arithmetic::bf16).arithmetic(), Arithmetic::bf16);
  }
}

}  // namespace
}  // namespace veloxquant
