// The whole measurement on the demo model, with little of everything.
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>
#include <veloxquant/attention/arithmetic.hpp>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/benchmark.hpp>
#include <veloxquant/io/files.hpp>

namespace veloxquant {
namespace {

const std::string kModel = VELOXQUANT_SOURCE_DIR "/models/demo/probe-6m-llama";

BenchmarkMethod method(const std::string& text) { return {MethodSpec::parse(text), MethodSpec::parse(text)}; }

class Benchmark : public testing::Test {
 protected:
  Decoder decoder_ = Decoder::load(kModel, {.arithmetic = Arithmetic::fp32});
  Tokenizer tokenizer_ = Tokenizer::load(kModel + "/tokenizer.json");
  TokenIds text_ = tokenizer_.encode(read_file(VELOXQUANT_SOURCE_DIR "/docs/architecture.md", 1 << 24));

  BenchmarkRequest request(std::int64_t seq_len = 256, std::int64_t windows = 1) const {
    BenchmarkRequest request;
    request.windows = cut_windows(text_, decoder_.config().bos, seq_len, 0, windows);
    request.chunk = 100;
    request.runs = 1;
    request.decode_tokens = 2;
    return request;
  }
};

TEST_F(Benchmark, MeasuresEveryFigureOfEveryMethod) {
  BenchmarkRequest r = request(512, 2);
  r.asked = {method("turboquant_mse:2"), method("fp32")};
  r.baselines = {method("affine:4")};
  r.recall =
      make_recall_sequences(tokenizer_, text_, decoder_.config().bos, {.seq_len = 512, .sequences = 1});
  std::set<std::string> stages;
  std::size_t last = 0;
  r.progress = [&](const std::string& stage, const std::string&, std::size_t done, std::size_t total) {
    stages.insert(stage);
    EXPECT_LT(done, total);
    last = done + 1 == total ? total : last;
  };
  const BenchmarkOutcome outcome = run_benchmark(decoder_, r);
  EXPECT_EQ(stages.size(), 4u);
  EXPECT_GT(last, 0u) << "progress must reach its end";
  ASSERT_EQ(outcome.results.size(), 4u);
  EXPECT_TRUE(outcome.left_out.empty());
  for (const MethodResult& result : outcome.results) {
    SCOPED_TRACE(result.method.name());
    EXPECT_EQ(result.arithmetic, "fp32");
    EXPECT_TRUE(result.perplexity && result.kl && result.kl_stderr && result.same_top1);
    EXPECT_EQ(result.recall_asked, 5);
    EXPECT_TRUE(result.recall.has_value());
    EXPECT_EQ(result.attention_error.size(), 6u);
    EXPECT_TRUE(result.prefill_tokens_per_s && result.decode_tokens_per_s && result.encode_us_per_token);
    EXPECT_GT(*result.resident_bytes, 0u);
    EXPECT_FALSE(result.memory.has_value());
  }
  const MethodResult &reference = outcome.results[0], &two_bits = outcome.results[1],
                     &exact = outcome.results[2], &four_bits = outcome.results[3];
  EXPECT_TRUE(reference.reference);
  EXPECT_TRUE(four_bits.baseline && !two_bits.baseline);
  EXPECT_GT(*reference.perplexity, 1);
  EXPECT_EQ(*exact.kl, 0);
  EXPECT_EQ(*exact.same_top1, 1);
  EXPECT_EQ(exact.attention_error, reference.attention_error);
  EXPECT_GT(*four_bits.kl, 0);
  EXPECT_GT(*two_bits.kl, 3 * *four_bits.kl);
  EXPECT_LT(*two_bits.same_top1, *four_bits.same_top1);
  for (std::size_t layer = 0; layer < 6; ++layer) {
    EXPECT_GT(two_bits.attention_error[layer], four_bits.attention_error[layer]);
    EXPECT_LT(two_bits.attention_error[layer], 1);
  }
  EXPECT_DOUBLE_EQ(*exact.bits_per_element, 32);
  EXPECT_DOUBLE_EQ(*four_bits.bits_per_element, 4.5);
  EXPECT_DOUBLE_EQ(*two_bits.bits_per_element, 2.25);
  EXPECT_LT(*two_bits.resident_bytes, *four_bits.resident_bytes);
}

TEST_F(Benchmark, ThePerplexityIsThatOfTheModel) {
  BenchmarkRequest r = request(300, 2);
  r.asked = {method("fp32")};
  const BenchmarkOutcome outcome = run_benchmark(decoder_, r);
  double nll = 0;
  std::size_t predictions = 0;
  for (const TokenIds& window : r.windows) {
    const auto config =
        std::make_shared<const KVCacheConfig>(cache_config(decoder_.config(), method("fp32"), 0, 0));
    const Tensor logits = decoder_.forward(window, make_caches(config, {}, decoder_.pool()));
    const auto vocab = logits.dim(1);
    for (std::size_t i = 0; i + 1 < window.size(); ++i, ++predictions) {
      const float* row = logits.data<float>() + static_cast<std::int64_t>(i) * vocab;
      double sum = 0;
      for (std::int64_t c = 0; c < vocab; ++c) sum += std::exp(static_cast<double>(row[c]));
      nll += std::log(sum) - static_cast<double>(row[window[i + 1]]);
    }
  }
  EXPECT_NEAR(*outcome.results[0].perplexity, std::exp(nll / static_cast<double>(predictions)), 1e-3);
}

// Fast attention rounds weights block by block, and blocks that are not full yet are read in fp32: where
// pieces end then shows a little.
TEST_F(Benchmark, PiecesChangeNothingButTheSpeed) {
  const AttentionArithmetic before = attention_arithmetic();
  BenchmarkRequest r = request();
  r.asked = {method("turboquant_mse:3")};
  for (const auto& [arithmetic, share] :
       {std::pair{AttentionArithmetic::precise, 0.005}, std::pair{AttentionArithmetic::fast, 0.03}}) {
    set_attention_arithmetic(arithmetic);
    r.chunk = request().chunk;
    const double by_hundreds = *run_benchmark(decoder_, r).results[1].kl;
    r.chunk = 31;
    const double by_less = *run_benchmark(decoder_, r).results[1].kl;
    EXPECT_NEAR(by_less, by_hundreds, share * by_hundreds);
  }
  set_attention_arithmetic(before);
}

TEST_F(Benchmark, WhatIsKeptExactLosesNothing) {
  BenchmarkRequest r = request();
  r.asked = {method("turboquant_mse:2")};
  r.sinks = 300;
  const MethodResult result = run_benchmark(decoder_, r).results[1];
  EXPECT_LT(*result.kl, 1e-6);
  EXPECT_FALSE(result.bits_per_element.has_value()) << "no token is coded";
  EXPECT_FALSE(result.recall.has_value());
  EXPECT_EQ(result.recall_asked, 0);
}

TEST_F(Benchmark, ASyntheticContextChangesDecodingAndNothingElse) {
  BenchmarkRequest r = request();
  r.asked = {method("turboquant_mse:4")};
  r.runs = 2;
  const MethodResult text = run_benchmark(decoder_, r).results[1];
  EXPECT_FALSE(text.filled_bytes.has_value());
  r.fill_context = 1000;
  std::size_t last = 0;
  r.progress = [&](const std::string&, const std::string&, std::size_t done, std::size_t total) {
    EXPECT_EQ(done, last++);
    EXPECT_LT(done, total);
  };
  const BenchmarkOutcome outcome = run_benchmark(decoder_, r);
  EXPECT_TRUE(outcome.warnings.empty());
  for (const MethodResult& result : outcome.results) {
    EXPECT_TRUE(result.decode_tokens_per_s && result.prefill_tokens_per_s);
    ASSERT_TRUE(result.filled_bytes.has_value());
  }
  const MethodResult& filled = outcome.results[1];
  EXPECT_EQ(filled.kl, text.kl);
  EXPECT_EQ(filled.perplexity, text.perplexity);
  EXPECT_EQ(filled.resident_bytes, text.resident_bytes);
  // 6 layers of 1,000 tokens, pages of 64: codes of 1,024 tokens and little else.
  const ModelConfig& c = decoder_.config();
  const double codes = 1024.0 * c.layers * c.kv_heads * 2 * (c.head_dim / 2 + 2);
  EXPECT_GE(static_cast<double>(*filled.filled_bytes), codes);
  EXPECT_LE(static_cast<double>(*filled.filled_bytes), 1.1 * codes + 1e5);
}

TEST_F(Benchmark, ASyntheticContextBeyondTheMemoryIsLeftUntimed) {
  BenchmarkRequest r = request();
  r.asked = {method("turboquant_mse:4")};
  r.fill_context = std::int64_t{1} << 40;
  const BenchmarkOutcome outcome = run_benchmark(decoder_, r);
  EXPECT_EQ(outcome.warnings.size(), 2u) << "the unquantized run and the method";
  for (const MethodResult& result : outcome.results) {
    EXPECT_FALSE(result.filled_bytes || result.decode_tokens_per_s);
    EXPECT_TRUE(result.kl && result.prefill_tokens_per_s);
  }
}

TEST_F(Benchmark, BaselinesThatCannotServeTheModelAreLeftOut) {
  BenchmarkRequest r = request();
  r.asked = {method("fp16")};
  r.baselines = {method("affine:4:group=128"), method("q8_0")};
  const BenchmarkOutcome outcome = run_benchmark(decoder_, r);
  ASSERT_EQ(outcome.left_out.size(), 1u);
  EXPECT_EQ(outcome.left_out[0].method.name(), "affine:4:group=128");
  EXPECT_NE(outcome.left_out[0].reason.find("64"), std::string::npos) << outcome.left_out[0].reason;
  EXPECT_EQ(outcome.results.size(), 3u);
}

TEST_F(Benchmark, RefusesRequestsWithoutMeaning) {
  BenchmarkRequest r = request();
  r.asked = {method("affine:4:group=128")};
  EXPECT_THROW(run_benchmark(decoder_, r), ConfigError) << "asked for and not served";
  r = request();
  r.windows.clear();
  EXPECT_THROW(run_benchmark(decoder_, r), ConfigError);
  r = request();
  r.windows.push_back({1, 2, 3});
  EXPECT_THROW(run_benchmark(decoder_, r), ConfigError);
  r = request();
  r.fill_context = -1;
  EXPECT_THROW(run_benchmark(decoder_, r), ConfigError);
  r = request();
  r.chunk = 0;
  EXPECT_THROW(run_benchmark(decoder_, r), ConfigError);
  r = request();
  r.runs = 0;
  EXPECT_THROW(run_benchmark(decoder_, r), ConfigError);
}

}  // namespace
}  // namespace veloxquant
