// The probe models' tokenizer: its digest over the evaluation text, every published case, and round trips.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>
#include <veloxquant/core/error.hpp>

#include "models_tokenizer/sha256.hpp"
#include "models_tokenizer/small_tokenizer.hpp"

namespace veloxquant {
namespace {

using testing::Ids;
namespace fs = std::filesystem;

const fs::path kDemo = fs::path(VELOXQUANT_SOURCE_DIR) / "models/demo/probe-6m-llama/tokenizer.json";
const fs::path kShared = VELOXQUANT_TEST_DATA;

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

#define SKIP_WITHOUT(path) \
  if (!fs::exists(path)) GTEST_SKIP() << "needs " << (path).string() << ", which is not on this machine"

TEST(Sha256, KnownDigests) {
  EXPECT_EQ(testing::sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(testing::sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(DemoTokenizer, KnownTexts) {
  SKIP_WITHOUT(kDemo);
  const Tokenizer tokenizer = Tokenizer::load(kDemo);
  EXPECT_EQ(tokenizer.vocab_size(), 8192u);
  EXPECT_EQ(tokenizer.token_id("<|begin_of_text|>"), 0u);
  EXPECT_EQ(tokenizer.token(1), "<|end_of_text|>");
  EXPECT_EQ(tokenizer.encode(""), Ids{});
  EXPECT_EQ(tokenizer.encode_with_special(""), Ids{0});
  EXPECT_EQ(tokenizer.encode(" Hello world"), (Ids{761, 324, 313, 7102}));
  EXPECT_EQ(tokenizer.encode_with_special("Hello   world  "), (Ids{0, 7776, 258, 7102, 258}));
  EXPECT_EQ(tokenizer.encode("if x:\n    return 1\n\n\n    # end\n"),
            (Ids{316, 727, 366, 274, 407, 222, 18, 1661, 274, 507, 995, 200}));
  EXPECT_EQ(tokenizer.encode("don\u2019t"), (Ids{69, 262, 1616}));
}

TEST(DemoTokenizer, IdsBeyondTheVocabularyAreNamed) {
  SKIP_WITHOUT(kDemo);
  const Tokenizer tokenizer = Tokenizer::load(kDemo);
  EXPECT_THROW(tokenizer.decode(Ids{5, 8192}), ConfigError);
  EXPECT_THROW(tokenizer.token(0xFFFFFFFFu), ConfigError);
}

RC_GTEST_PROP(DemoTokenizer, AnyBytesComeBack, (const std::vector<std::uint8_t>& bytes)) {
  RC_PRE(fs::exists(kDemo));
  static const Tokenizer tokenizer = Tokenizer::load(kDemo);
  const std::string text(bytes.begin(), bytes.end());
  RC_ASSERT(tokenizer.decode(tokenizer.encode(text)) == text);
}

TEST(DemoTokenizer, ThreadsShareOneTokenizer) {
  SKIP_WITHOUT(kDemo);
  const Tokenizer tokenizer = Tokenizer::load(kDemo);
  const std::string text = read(kDemo).substr(0, 100'000);
  const Ids expected = tokenizer.encode(text);
  std::vector<Ids> got(4);
  std::vector<std::thread> threads;
  for (Ids& ids : got) threads.emplace_back([&] { ids = tokenizer.encode(text); });
  for (std::thread& thread : threads) thread.join();
  for (const Ids& ids : got) EXPECT_EQ(ids, expected);
}

TEST(ProbeTokenizer, EvaluationTextHasItsDigest) {
  const fs::path file = kShared / "models/probe-32m-llama/tokenizer.json",
                 text_file = kShared / "text/val.txt";
  SKIP_WITHOUT(file);
  SKIP_WITHOUT(text_file);
  const Tokenizer tokenizer = Tokenizer::load(file);
  const std::string text = read(text_file);
  const Ids ids = tokenizer.encode(text);
  EXPECT_EQ(ids.size(), 192'485u);
  std::string little_endian;
  for (const std::uint32_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8) little_endian += static_cast<char>(id >> shift);
  }
  EXPECT_EQ(testing::sha256(little_endian),
            "3bf41dc4e2ac4e3302dfc4bbd5b1e5829a822312b930cfaac1d9e551808ed436");
  EXPECT_EQ(tokenizer.decode(ids), text);
}

TEST(ProbeTokenizer, EveryPublishedCase) {
  const fs::path file = kShared / "models/probe-32m-llama/tokenizer.json";
  const fs::path cases = kShared / "text/tokenizer_cases.jsonl";
  SKIP_WITHOUT(file);
  SKIP_WITHOUT(cases);
  const Tokenizer tokenizer = Tokenizer::load(file);
  std::ifstream in(cases);
  std::size_t count = 0;
  for (std::string line; std::getline(in, line); ++count) {
    const auto item = testing::Json::parse(line);
    const auto text = item.at("text").get<std::string>();
    EXPECT_EQ(tokenizer.encode(text), item.at("ids").get<Ids>()) << line;
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text) << line;
  }
  EXPECT_GT(count, 100u);
}

}  // namespace
}  // namespace veloxquant
