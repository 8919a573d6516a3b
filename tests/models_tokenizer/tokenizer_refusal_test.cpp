// Files from strangers: what is not served is named, what is damaged is a typed error, and nothing crashes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <functional>
#include <veloxquant/core/error.hpp>

#include "models_tokenizer/small_tokenizer.hpp"

namespace veloxquant {
namespace {

using namespace testing;
using ::testing::HasSubstr;

template <typename Expected>
void expect_refusal(const std::string& json, const std::string& named) {
  try {
    Tokenizer::parse(json);
    ADD_FAILURE() << "taken, though it should name " << named;
  } catch (const Expected& error) {
    EXPECT_THAT(error.what(), HasSubstr(named));
  }
}

struct Change {
  const char* pointer;  // JSON pointer
  Json value;
  const char* named;
};

template <typename Expected>
void expect_refusals(const std::vector<Change>& changes) {
  for (const auto& [pointer, value, named] : changes) {
    SCOPED_TRACE(std::string(pointer) + " = " + value.dump().substr(0, 200));
    Json file = small_tokenizer({{"a", "b"}});
    file["added_tokens"] = Json::array({added("<t>", 300, true)});
    file[Json::json_pointer(pointer)] = value;
    expect_refusal<Expected>(file.dump(), named);
  }
}

TEST(Refusals, WhatIsNotServedIsNamed) {
  const Json metaspace = {{"type", "Metaspace"}, {"replacement", "_"}};
  Json removed = split("a"), inverted = split("a"), literal = split("a");
  removed["behavior"] = "Removed";
  inverted["invert"] = true;
  literal["pattern"] = {{"String", " "}};
  expect_refusals<UnsupportedError>({
      {"/model/type", "Unigram", "Unigram"},
      {"/model/type", "WordPiece", "WordPiece"},
      {"/model/dropout", 0.1, "dropout is 0.1"},
      {"/model/byte_fallback", true, "byte_fallback"},
      {"/model/end_of_word_suffix", "</w>", "</w>"},
      {"/model/continuing_subword_prefix", "##", "##"},
      {"/normalizer", {{"type", "NFKC"}}, "NFKC"},
      {"/normalizer",
       {{"type", "Sequence"}, {"normalizers", Json::array({{{"type", "Prepend"}}})}},
       "Prepend"},
      {"/pre_tokenizer", nullptr, "no ByteLevel"},
      {"/pre_tokenizer", metaspace, "Metaspace"},
      {"/pre_tokenizer", split("a"), "no ByteLevel"},
      {"/pre_tokenizer", sequence({byte_level(false, false), split("a")}), "follows ByteLevel"},
      {"/pre_tokenizer", sequence({removed, byte_level(false, false)}), "Removed"},
      {"/pre_tokenizer", sequence({inverted, byte_level(false, false)}), "invert"},
      {"/pre_tokenizer", sequence({literal, byte_level(false, false)}), "not a Regex"},
      {"/pre_tokenizer", sequence({split("\\w"), byte_level(false, false)}), "\\w"},
      {"/post_processor", {{"type", "BertProcessing"}}, "BertProcessing"},
      {"/decoder", nullptr, "decoder"},
      {"/decoder", metaspace, "Metaspace"},
      {"/added_tokens/0/lstrip", true, "lstrip"},
      {"/added_tokens/0/rstrip", true, "rstrip"},
      {"/added_tokens/0/single_word", true, "single_word"},
      {"/truncation", {{"max_length", 5}}, "truncation"},
      {"/padding", {{"strategy", "BatchLongest"}}, "padding"},
      {"/version", "2.0", "2.0"},
  });
}

TEST(Refusals, DamageIsNamed) {
  const Json no_sequence = {{"type", "TemplateProcessing"},
                            {"single", Json::array({{{"SpecialToken", {{"id", "<x>"}}}}})},
                            {"special_tokens", Json::object()}};
  expect_refusals<ModelError>({
      {"/model", 7, "model is 7"},
      {"/model", Json::object(), "model has no \"type\""},
      {"/model/vocab", Json::array(), "model.vocab is an array"},
      {"/model/vocab", Json::object(), "no piece"},
      {"/model/vocab/xx", -1, "-1"},
      {"/model/vocab/xx", 1.5, "1.5"},
      {"/model/vocab/xx", "9", "\"9\""},
      {"/model/vocab/xx", 16'777'216, "16777216"},
      {"/model/vocab/xx", 18446744073709551615u, "18446744073709551615"},
      {"/model/vocab/xx", 97, "id 97 is given to both"},
      {"/model/vocab/", 400, "empty piece"},
      {"/model/merges", 3, "model.merges is 3"},
      {"/model/merges/0", "ab", "not two pieces"},
      {"/model/merges/0", "a b c", "not two pieces"},
      {"/model/merges/0", Json::array({"a"}), "has 1 pieces"},
      {"/model/merges/0", {"a", 5}, "is 5"},
      {"/model/merges/0", {"zz", "a"}, "needs the piece \"zz\""},
      {"/model/merges/0", {"a", "c"}, "needs the piece \"ac\""},
      {"/model/merges/1", {"a", "b"}, "repeats the pair \"a b\""},
      {"/model/ignore_merges", 1, "ignore_merges is 1"},
      {"/added_tokens/0/id", 97, "id 97 is given to both"},
      {"/added_tokens/0/id", -3, "is -3"},
      {"/added_tokens/0/content", "a", "already known as 97"},
      {"/added_tokens/0/content", "", "0 bytes"},
      {"/added_tokens/0/content", std::string(2000, 'x'), "2000 bytes"},
      {"/added_tokens/1", added("<t>", 300, true), "same content"},
      {"/added_tokens/1", added("<t>", 301, true), "already known as 300"},
      {"/added_tokens", 4, "added_tokens is 4"},
      {"/pre_tokenizer", sequence({split("("), byte_level(false, false)}), "does not compile"},
      {"/pre_tokenizer", {{"type", 5}}, "pre_tokenizer.type is 5"},
      {"/pre_tokenizer", {{"type", "ByteLevel"}}, "add_prefix_space"},
      {"/post_processor", no_sequence, "<x>"},
  });
}

TEST(Refusals, TextThatIsNoCleanJson) {
  expect_refusal<ModelError>("", "is not JSON");
  expect_refusal<ModelError>("[1, 2", "is not JSON");
  expect_refusal<ModelError>("{\"model\": \"\xFF\"}", "is not JSON");
  expect_refusal<ModelError>(R"({"model": "\ud800"})", "is not JSON");
  expect_refusal<ModelError>("[]", "not an object");
  expect_refusal<ModelError>(R"({"a": {"b": 1, "b": 2}})", "names 'b' twice");
  expect_refusal<ModelError>(std::string(100'000, '['), "nests deeper");
  EXPECT_THROW(Tokenizer::load("no/such/tokenizer.json"), IoError);
}

TEST(Refusals, TemplatesNameKnownIds) {
  Json file = small_tokenizer();
  file["post_processor"] = {{"type", "TemplateProcessing"},
                            {"single", {{{"SpecialToken", {{"id", "x"}}}}, {{"Sequence", {{"id", "A"}}}}}},
                            {"special_tokens", {{"x", {{"id", "x"}, {"ids", Json::array({999})}}}}}};
  expect_refusal<ConfigError>(file.dump(), "999");
}

// A small file must not make a large or a deep computation.
TEST(Refusals, AmplificationIsRefusedByName) {
  const auto stages = [](std::size_t count) {
    Json file = small_tokenizer();
    std::vector<Json> list(count - 1, split("a"));
    list.push_back(byte_level(false, false));
    file["pre_tokenizer"] = sequence(list);
    return file;
  };
  EXPECT_EQ(parse(stages(32)).encode("bab"), byte_ids("bab"));
  expect_refusal<UnsupportedError>(stages(33).dump(), "pre_tokenizer.pretokenizers[32] is stage 33");
  expect_refusal<UnsupportedError>(stages(50'000).dump(), "at most 32 stages");

  const auto with_template = [](std::size_t parts, std::size_t ids) {
    Json file = small_tokenizer();
    Json single = std::vector<Json>(parts - 1, {{"SpecialToken", {{"id", "x"}}}});
    single.push_back({{"Sequence", {{"id", "A"}}}});
    file["post_processor"] = {{"type", "TemplateProcessing"},
                              {"single", single},
                              {"special_tokens", {{"x", {{"id", "x"}, {"ids", std::vector<int>(ids, 7)}}}}}};
    return file;
  };
  EXPECT_EQ(parse(with_template(5, 16)).encode_with_special("a").size(), 65u);
  expect_refusal<UnsupportedError>(with_template(5, 17).dump(), "adds more than 64 ids");
  expect_refusal<UnsupportedError>(with_template(65, 1).dump(), "has 65 parts");
}

// A file cut or changed anywhere is taken or refused by a typed error; nothing else happens.
RC_GTEST_PROP(Refusals, DamagedBytesAreTypedErrors, ()) {
  static const std::string whole = [] {
    Json file = small_tokenizer({{"a", "b"}, {"ab", "c"}});
    file["pre_tokenizer"] = sequence({split(R"(\p{L}+|\s+(?!\S)|[^\r\n]{1,3})"), byte_level(false, true)});
    file["added_tokens"] = Json::array({added("<t>", 300, true)});
    return file.dump();
  }();
  std::string file = whole;
  const auto at = *rc::gen::inRange<std::size_t>(0, file.size());
  if (*rc::gen::arbitrary<bool>()) {
    file.resize(at);
  } else {
    file[at] = *rc::gen::arbitrary<char>();
  }
  try {
    const Tokenizer tokenizer = Tokenizer::parse(file);
    RC_ASSERT(tokenizer.decode(tokenizer.encode("abc <t> xyz")) != "");
  } catch (const Error&) {
  }
}

}  // namespace
}  // namespace veloxquant
