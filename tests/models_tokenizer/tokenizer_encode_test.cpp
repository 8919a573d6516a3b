// Each station of the encoder on a tokenizer made by hand, so that the expected ids can be read off.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <random>
#include <veloxquant/core/error.hpp>

#include "models_tokenizer/small_tokenizer.hpp"

namespace veloxquant {
namespace {

using namespace testing;

// Every pair of adjacent letters of the words is merged, so that pieces show where the splits are.
std::vector<std::string> pieces(const Json& pre_tokenizer, const std::string& text) {
  Json file = small_tokenizer();
  file["pre_tokenizer"] = pre_tokenizer;
  // With ignore_merges each candidate piece that is in the vocabulary stays whole.
  file["model"]["ignore_merges"] = true;
  auto& vocab = file["model"]["vocab"];
  for (std::size_t begin = 0; begin < text.size(); ++begin) {
    for (std::size_t length = 1; begin + length <= text.size(); ++length) {
      const std::string piece = tokenizing::piece_of_bytes(std::string_view(text).substr(begin, length));
      if (!vocab.contains(piece)) vocab[piece] = vocab.size();
      if (!vocab.contains("\u0120" + piece)) vocab["\u0120" + piece] = vocab.size();
    }
  }
  const Tokenizer tokenizer = parse(file);
  std::vector<std::string> out;
  for (const std::uint32_t id : tokenizer.encode(text)) out.push_back(tokenizer.decode(Ids{id}));
  return out;
}

using Strings = std::vector<std::string>;

TEST(SplitPatterns, Gpt2) {
  EXPECT_EQ(pieces(byte_level(false, true), "I'm 42 years,  it's   OK\n\n x "),
            (Strings{"I", "'m", " 42", " years", ",", " ", " it", "'s", "  ", " OK", "\n\n", " x", " "}));
  EXPECT_EQ(pieces(byte_level(false, true), "DON'T 12345!?"), (Strings{"DON", "'", "T", " 12345", "!?"}));
}

TEST(SplitPatterns, Llama3AndQwen) {
  const std::string head = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)";
  const std::string tail = R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  const auto llama = sequence({split(head + R"(\p{N}{1,3})" + tail), byte_level(false, false)});
  const auto qwen = sequence({split(head + R"(\p{N})" + tail), byte_level(false, false)});
  EXPECT_EQ(pieces(llama, "DON'T 12345!\n"), (Strings{"DON", "'T", " ", "123", "45", "!\n"}));
  EXPECT_EQ(pieces(qwen, "DON'T 123"), (Strings{"DON", "'T", " ", "1", "2", "3"}));
  EXPECT_EQ(pieces(llama, "f(x)\t y \r\n"), (Strings{"f", "(x", ")", "\t", " y", " \r\n"}));
}

TEST(SplitPatterns, GapsAndEmptyMatchesCut) {
  EXPECT_EQ(pieces(sequence({split("b"), byte_level(false, false)}), "aabaa"), (Strings{"aa", "b", "aa"}));
  EXPECT_EQ(pieces(sequence({split("x*"), byte_level(false, false)}), "abxx\u00e9"),
            (Strings{"a", "b", "xx", "\u00e9"}));
}

TEST(SplitPatterns, SeveralStationsAndPrefixSpace) {
  const Json digits = {{"type", "Digits"}, {"individual_digits", true}};
  EXPECT_EQ(pieces(sequence({digits, byte_level(false, true)}), "ab 12"), (Strings{"ab", " ", "1", "2"}));
  EXPECT_EQ(pieces(byte_level(true, true), "ab cd"), (Strings{" ab", " cd"}));
  EXPECT_EQ(pieces(byte_level(true, false), " ab cd"), (Strings{" ab cd"}));
  EXPECT_EQ(pieces(sequence({digits, byte_level(true, true)}), "a1"), (Strings{" a", " 1"}));
  EXPECT_TRUE(parse(small_tokenizer()).encode("").empty());
}

// The definition: find the best pair of the whole word, merge its leftmost occurrence, and begin again.
Ids plain_merges(const Merges& merges, const std::string& word) {
  Strings parts;
  for (const char c : word) parts.emplace_back(1, c);
  for (;;) {
    std::size_t best = merges.size(), where = 0;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      for (std::size_t rank = 0; rank < best; ++rank) {
        if (merges[rank] == std::pair(parts[i], parts[i + 1])) best = rank, where = i;
      }
    }
    if (best == merges.size()) break;
    parts[where] += parts[where + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(where) + 1);
  }
  const Tokenizer tokenizer = parse(small_tokenizer(merges));
  Ids ids;
  for (const std::string& part : parts) ids.push_back(*tokenizer.token_id(part));
  return ids;
}

RC_GTEST_PROP(Merging, FollowsTheDefinition, ()) {
  // Random rules over pieces that exist, each making a new piece.
  Strings known = {"a", "b", "c"};
  Merges merges;
  for (int i = 0; i < 12; ++i) {
    const auto left = *rc::gen::elementOf(known), right = *rc::gen::elementOf(known);
    if (left.size() + right.size() > 8 || std::find(known.begin(), known.end(), left + right) != known.end())
      continue;
    known.push_back(left + right);
    merges.emplace_back(left, right);
  }
  std::shuffle(merges.begin(), merges.end(), std::minstd_rand(*rc::gen::arbitrary<std::uint32_t>()));
  const auto word = *rc::gen::container<std::string>(rc::gen::element('a', 'b', 'c'));
  RC_ASSERT(parse(small_tokenizer(merges)).encode(word) == plain_merges(merges, word));
}

TEST(Merging, IgnoreMergesTakesWholeWords) {
  Json file = small_tokenizer({{"a", "b"}});
  file["model"]["vocab"]["abc"] = 300;  // no merge leads there
  EXPECT_EQ(parse(file).encode("abc"), (Ids{256, byte_id('c')}));
  file["model"]["ignore_merges"] = true;
  EXPECT_EQ(parse(file).encode("abc"), Ids{300});
  EXPECT_EQ(parse(file).encode("abcc"), (Ids{256, byte_id('c'), byte_id('c')}));
}

TEST(Merging, MergesMayBeWrittenAsStrings) {
  Json file = small_tokenizer({{"a", "b"}, {" ", "ab"}});
  file["model"]["merges"] = {"a b", "\u0120 ab"};
  EXPECT_EQ(parse(file).encode("ab ab"), (Ids{256, 257}));
}

TEST(Merging, LongWordsTakeNoQuadraticTime) {
  const std::string word(2'000'000, 'a');
  const Ids ids = parse(small_tokenizer({{"a", "a"}, {"aa", "aa"}})).encode(word);
  EXPECT_EQ(ids, Ids(500'000, 257));
}

TEST(AddedTokens, AreCutOutFirstAndLongestWins) {
  Json file = small_tokenizer();
  file["added_tokens"] = {added("<t>", 256, true), added("<t><t>", 257, false), added("\u00e9!", 300, false)};
  const Tokenizer tokenizer = parse(file);
  EXPECT_EQ(tokenizer.vocab_size(), 301u);
  EXPECT_EQ(tokenizer.encode("a<t>b<t><t><t>"), (Ids{byte_id('a'), 256, byte_id('b'), 257, 256}));
  EXPECT_EQ(tokenizer.encode("<t"), byte_ids("<t"));
  EXPECT_EQ(tokenizer.encode("\u00e9!\u00e9"), (Ids{300, 0xC3, 0xA9}));
  EXPECT_EQ(tokenizer.decode(Ids{256, 97, 257, 300}), "<t>a<t><t>\u00e9!");
  EXPECT_EQ(tokenizer.decode(Ids{256, 97, 257, 300}, true), "a<t><t>\u00e9!");
  EXPECT_THROW(tokenizer.decode(Ids{299}), ConfigError);
}

TEST(AddedTokens, NormalizedOnesAreFoundAfterTheNormalizer) {
  Json file = small_tokenizer();
  file["normalizer"] = {{"type", "NFC"}};
  file["added_tokens"] = {added("<\u00e9>", 256, false, true), added("<\u00e8>", 257, false, false)};
  const Tokenizer tokenizer = parse(file);
  EXPECT_EQ(tokenizer.encode("<e\u0301>"), Ids{256});
  EXPECT_EQ(tokenizer.encode("<e\u0300>"), byte_ids("<\u00e8>"));
  EXPECT_EQ(tokenizer.encode("<\u00e8>"), Ids{257});
}

TEST(PostProcessor, TemplatesSurroundTheText) {
  Json file = small_tokenizer();
  file["added_tokens"] = {added("<s>", 256, true), added("</s>", 257, true)};
  const auto special = [](const char* id) { return Json{{"SpecialToken", {{"id", id}, {"type_id", 0}}}}; };
  const Json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const Json processor = {{"type", "TemplateProcessing"},
                          {"single", Json::array({special("<s>"), special("x"), text, special("</s>")})},
                          {"pair", Json::array()},
                          {"special_tokens",
                           {{"<s>", {{"id", "<s>"}, {"ids", Json::array({256})}, {"tokens", {"<s>"}}}},
                            {"x", {{"id", "x"}, {"ids", {7, 8}}, {"tokens", {"a", "b"}}}},
                            {"</s>", {{"id", "</s>"}, {"ids", Json::array({257})}, {"tokens", {"</s>"}}}}}}};
  const Ids expected = {256, 7, 8, byte_id('a'), 257};
  file["post_processor"] = processor;
  EXPECT_EQ(parse(file).encode_with_special("a"), expected);
  EXPECT_EQ(parse(file).encode("a"), byte_ids("a"));
  file["post_processor"] = {{"type", "Sequence"}, {"processors", {byte_level(true, true), processor}}};
  EXPECT_EQ(parse(file).encode_with_special("a"), expected);
  file["post_processor"] = byte_level(true, false);
  EXPECT_EQ(parse(file).encode_with_special("a"), byte_ids("a"));
}

TEST(InvalidUtf8, EachByteIsItsOwnToken) {
  // "ab" and the e-acute are merged where they are text, and the stray halves are not.
  const Tokenizer tokenizer = parse(small_tokenizer({{"a", "b"}, {"\xC3", "\xA9"}}));
  EXPECT_EQ(tokenizer.encode("ab\xFF\xC3\xA9\xC3"), (Ids{256, 0xFF, 257, 0xC3}));
  EXPECT_EQ(tokenizer.encode("\xED\xA0\x80"), (Ids{0xED, 0xA0, 0x80}));  // a surrogate
  EXPECT_EQ(tokenizer.encode("\xC0\x80\xF4\x90\x80\x80"),
            byte_ids("\xC0\x80\xF4\x90\x80\x80"));  // overlong, too large
}

RC_GTEST_PROP(InvalidUtf8, AnyBytesComeBack, (const std::vector<std::uint8_t>& bytes)) {
  static const Tokenizer tokenizer = parse(small_tokenizer({{"\xC3", "\xA9"}, {" ", "a"}, {"\x80", "\x80"}}));
  const std::string text(bytes.begin(), bytes.end());
  RC_ASSERT(tokenizer.decode(tokenizer.encode(text)) == text);
}

}  // namespace
}  // namespace veloxquant
