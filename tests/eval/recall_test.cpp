#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <set>
#include <string>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/recall.hpp>

namespace veloxquant {
namespace {

class Recall : public testing::Test {
 protected:
  static constexpr std::uint32_t kBos = 1;
  Tokenizer tokenizer_ = Tokenizer::load(VELOXQUANT_SOURCE_DIR "/models/demo/probe-6m-llama/tokenizer.json");
  TokenIds text_ = tokenizer_.encode(long_text());

  static std::string long_text() {
    std::string text;
    for (int i = 0; i < 400; ++i)
      text += "Pages hold sixty-four tokens each; item " + std::to_string(i) + " of them.\n";
    return text;
  }
  std::vector<RecallSequence> make(RecallOptions options = {}) const {
    return make_recall_sequences(tokenizer_, text_, kBos, options);
  }
};

TEST_F(Recall, LinesAreTheExactOnes) {
  const auto sequences = make({.sequences = 3});
  ASSERT_EQ(sequences.size(), 3u);
  for (const RecallSequence& sequence : sequences) {
    ASSERT_EQ(sequence.ids.size(), 4096u);
    EXPECT_EQ(sequence.ids[0], kBos);
    const std::string text = tokenizer_.decode(std::span(sequence.ids).subspan(1));

    std::map<std::string, std::string> facts;
    std::set<std::string> codes;
    const std::regex fact("\nThe access code for the ([a-z]+ [a-z]+) is ([0-9]{5})\\.\n");
    for (std::sregex_iterator it(text.begin(), text.end(), fact), end; it != end; ++it) {
      EXPECT_TRUE(facts.emplace((*it)[1], (*it)[2]).second) << "a name twice";
      EXPECT_TRUE(codes.insert((*it)[2]).second) << "a code twice";
    }
    EXPECT_EQ(facts.size(), 8u);

    std::set<std::string> asked;
    const std::regex question(
        "\nQuestion: what is the access code for the ([a-z]+ [a-z]+)\\? Answer: ([0-9]{5})\\.\n");
    for (std::sregex_iterator it(text.begin(), text.end(), question), end; it != end; ++it) {
      ASSERT_TRUE(facts.contains((*it)[1]));
      EXPECT_EQ(facts[(*it)[1]], (*it)[2]);
      EXPECT_TRUE(asked.insert((*it)[1]).second) << "a question twice";
    }
    EXPECT_EQ(asked.size(), 5u);
    EXPECT_TRUE(text.ends_with(".\n"));
  }
}

TEST_F(Recall, AnswersAreWhereTheyAreSaidToBe) {
  for (const RecallSequence& sequence : make({.sequences = 2})) {
    ASSERT_EQ(sequence.answers.size(), 5u);
    for (const auto [begin, end] : sequence.answers) {
      const std::string answer = tokenizer_.decode(std::span(sequence.ids).subspan(begin, end - begin));
      EXPECT_TRUE(std::regex_match(answer, std::regex(" [0-9]{5}\\.\n?"))) << answer;
      const std::string before = tokenizer_.decode(std::span(sequence.ids).subspan(begin - 5, 5));
      EXPECT_TRUE(before.ends_with("Answer:")) << before;
    }
  }
}

TEST_F(Recall, FillerIsThePassageOfTheText) {
  const auto sequence = make({.sequences = 1, .facts = 1, .questions = 1})[0];
  std::string filler = tokenizer_.decode(std::span(sequence.ids).subspan(1));
  filler.erase(filler.find("\nQuestion:"));
  filler = std::regex_replace(filler, std::regex("\nThe access code for the [a-z ]+ is [0-9]{5}\\.\n"), "");
  const std::string text = long_text();
  EXPECT_NE((text + text).find(filler), std::string::npos);
}

TEST_F(Recall, TheSeedDecidesAndNothingElse) {
  const auto a = make({.sequences = 2, .seed = 3}), b = make({.sequences = 3, .seed = 3}),
             c = make({.sequences = 2, .seed = 4});
  EXPECT_EQ(a[0].ids, b[0].ids);
  EXPECT_EQ(a[1].ids, b[1].ids);
  EXPECT_NE(a[0].ids, c[0].ids);
  EXPECT_NE(a[0].ids, a[1].ids);
}

TEST_F(Recall, AShortTextGoesRound) {
  text_.resize(10);
  EXPECT_EQ(make({.sequences = 1})[0].ids.size(), 4096u);
  text_.resize(1);
  EXPECT_EQ(make({.seq_len = 600, .sequences = 1})[0].ids.size(), 600u);
}

TEST_F(Recall, RefusesWhatHasNoMeaning) {
  EXPECT_TRUE(make({.sequences = 0}).empty());
  EXPECT_THROW(make({.seq_len = 200}), ConfigError);
  EXPECT_THROW(make({.sequences = -1}), ConfigError);
  EXPECT_THROW(make({.facts = 0, .questions = 0}), ConfigError);
  EXPECT_THROW(make({.facts = 3, .questions = 4}), ConfigError);
  EXPECT_THROW(make({.facts = 100000}), ConfigError);
  text_.clear();
  EXPECT_THROW(make(), ConfigError);
}

TEST_F(Recall, ABosTokenIsOptional) {
  const auto sequence = make_recall_sequences(tokenizer_, text_, {}, {.sequences = 1})[0];
  EXPECT_EQ(sequence.ids.size(), 4096u);
  EXPECT_NE(sequence.ids[0], kBos);
}

}  // namespace
}  // namespace veloxquant
