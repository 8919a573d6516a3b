// The probe models against what transformers computes for window 0 of the validation text, and their greedy
// continuations. Positions whose two best logits are closer than the arithmetic's error are left out.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>
#include <veloxquant/models/decoder.hpp>
#include <veloxquant/models/tokenizer.hpp>

#include "models/fixtures.hpp"
#include "models/linear.hpp"

namespace veloxquant {
namespace {

using testing::Caches;
using testing::caches_for;

constexpr std::int64_t kWindow = 4096;
constexpr std::size_t kPiece = 1024;

std::filesystem::path fixture(const std::string& model, const char* what) {
  return testing::kTestData / "fixtures" / (model + what);
}

// [BOS] and the first 4095 tokens of the text.
std::vector<std::uint32_t> window_zero(const Decoder& model, const std::filesystem::path& folder) {
  const std::string text = testing::text_of(testing::kTestData / "text/val.txt");
  const auto ids = Tokenizer::load(folder / "tokenizer.json").encode(std::string_view(text).substr(0, 40000));
  std::vector<std::uint32_t> tokens = {model.config().bos.value()};
  tokens.insert(tokens.end(), ids.begin(), ids.begin() + kWindow - 1);
  return tokens;
}

struct Row {
  std::uint32_t best = 0;
  double margin = 0;       // between the two best logits
  double log_of_true = 0;  // log-probability of the next token
};

Row summarize(std::span<const float> logits, std::uint32_t next) {
  Row row;
  float first = -INFINITY, second = -INFINITY;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > first) {
      second = std::exchange(first, logits[i]);
      row.best = static_cast<std::uint32_t>(i);
    } else {
      second = std::max(second, logits[i]);
    }
  }
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{logit} - first);
  row.margin = double{first} - second;
  row.log_of_true = double{logits[next]} - first - std::log(sum);
  return row;
}

std::vector<Row> run_window(Decoder& model, const std::vector<std::uint32_t>& tokens) {
  const Caches caches = caches_for(model);
  std::vector<Row> rows;
  for (std::size_t begin = 0; begin < tokens.size(); begin += kPiece) {
    const Tensor logits = model.forward(std::span(tokens).subspan(begin, kPiece), caches);
    const auto vocab = static_cast<std::size_t>(logits.dim(1));
    for (std::size_t i = 0; i < kPiece; ++i) {
      const std::uint32_t next = begin + i + 1 < tokens.size() ? tokens[begin + i + 1] : 0;
      rows.push_back(summarize(logits.span<float>().subspan(i * vocab, vocab), next));
    }
  }
  return rows;
}

void expect_continuations(Decoder& model, const std::filesystem::path& file, double error) {
  for (const auto& sample : nlohmann::json::parse(testing::text_of(file))) {
    const auto prompt = sample.at("prompt").get<std::vector<std::uint32_t>>();
    const auto ids = sample.at("ids").get<std::vector<std::uint32_t>>();
    const auto margins = sample.at("margins").get<std::vector<double>>();
    const auto generated = model.generate_greedy(prompt, std::ssize(ids), caches_for(model));
    for (std::size_t i = 0; i < ids.size() && margins[i] > error; ++i)
      ASSERT_EQ(generated[i], ids[i]) << "step " << i;
  }
}

TEST(DemoModel, ContinuesAsTransformersDoes) {
  Decoder model = Decoder::load(testing::kDemoModel, {Arithmetic::fp32, 0});
  expect_continuations(model, testing::kTinyModels / "probe-6m-llama.greedy.json", 1e-3);
}

class ProbeModel : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(folder()))
      GTEST_SKIP() << "the probe models are not at " << testing::kTestData;
  }
  std::filesystem::path folder() const { return testing::kTestData / "models" / GetParam(); }
};

TEST_P(ProbeModel, WindowZeroInFp32) {
  Decoder model = Decoder::load(folder(), {Arithmetic::fp32, 0});
  const auto rows = run_window(model, window_zero(model, folder()));
  const auto best = testing::read_npy<std::int32_t>(fixture(GetParam(), ".argmax.npy"));
  const auto logs = testing::read_npy<float>(fixture(GetParam(), ".logprob_true.npy"));
  ASSERT_EQ(best.size(), rows.size());
  double worst = 0;
  int close = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i < logs.size()) worst = std::max(worst, std::abs(rows[i].log_of_true - logs[i]));
    if (rows[i].margin < 2e-3) {
      ++close;
    } else {
      ASSERT_EQ(rows[i].best, static_cast<std::uint32_t>(best[i])) << "position " << i;
    }
  }
  EXPECT_LT(worst, 2e-3);
  EXPECT_LT(close, 20);
}

TEST_P(ProbeModel, WindowZeroInBf16) {
  if (bf16_support() == Bf16Support::none) GTEST_SKIP() << "this CPU has no bf16 products";
  Decoder model = Decoder::load(folder(), {Arithmetic::bf16, 0});
  const auto rows = run_window(model, window_zero(model, folder()));
  const auto logs = testing::read_npy<float>(fixture(GetParam(), ".logprob_true.npy"));
  double mean = 0, expected = 0;
  for (std::size_t i = 0; i < logs.size(); ++i) {
    mean -= rows[i].log_of_true / double(logs.size());
    expected -= logs[i] / double(logs.size());
  }
  EXPECT_NEAR(std::exp(mean), std::exp(expected), 0.02);
}

TEST_P(ProbeModel, ContinuesAsTransformersDoes) {
  Decoder model = Decoder::load(folder(), {Arithmetic::fp32, 0});
  expect_continuations(model, fixture(GetParam(), ".greedy.json"), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, ProbeModel,
                         ::testing::Values("probe-6m-llama", "probe-6m-qwen3", "probe-32m-llama"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace veloxquant
