#include "models/tokenizer_pattern.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>
#include <veloxquant/core/error.hpp>

namespace veloxquant::tokenizing {
namespace {

std::vector<std::string> split(const char* regex, std::string_view text) {
  const SplitPattern pattern(regex);
  SplitPattern::Pieces pieces(pattern, text);
  std::vector<std::string> out;
  for (std::string_view piece; pieces.next(piece);) out.emplace_back(piece);
  return out;
}

using Strings = std::vector<std::string>;

TEST(SplitPattern, BlanksAreThoseOfTheReference) {
  // U+180E was a space once; PCRE2's \s still takes it, Oniguruma's does not. U+0085 and U+3000 are spaces to
  // both.
  EXPECT_EQ(split(R"(\s)", "a\u180eb\u0085c\u3000d"), (Strings{"a\u180eb", "\u0085", "c", "\u3000", "d"}));
  EXPECT_EQ(split(R"([^\S\n]+)", "a \t\nb"), (Strings{"a", " \t", "\nb"}));
  EXPECT_EQ(split(R"(\S+)", "a\u180eb c"), (Strings{"a\u180eb", " ", "c"}));
}

TEST(SplitPattern, ConstructsOfServedFiles) {
  EXPECT_EQ(split(R"((?i:'s|'ll))", "it'S"), (Strings{"it", "'S"}));
  EXPECT_EQ(split(R"((?<=a)\d{2,}|[\-\]x]++)", "a123]x-4"), (Strings{"a", "123", "]x-", "4"}));
  EXPECT_EQ(split(R"([\p{Lu}\p{^L}]+)", "aB1c"), (Strings{"a", "B1", "c"}));
  EXPECT_EQ(split(".", "\r\n"), (Strings{"\r", "\n"}));
}

struct Refused {
  const char* regex;
  const char* named;
};

TEST(SplitPattern, ConstructsThatMayDifferAreNamed) {
  const std::vector<Refused> cases = {
      {R"(\w+)", R"("\w")"},     {R"(\h)", R"("\h")"},       {R"(a\b)", R"("\b")"},
      {R"((a)\1)", R"("\1")"},   {R"(\x41)", R"("\x")"},     {R"(\p{Han})", R"(\p{Han})"},
      {R"(\pL)", R"("\pL")"},    {R"(\p{L)", R"("\p{")"},    {R"([a[b]])", "sets inside"},
      {R"([a&&b])", "&&"},       {R"([]a])", "[]"},          {R"(^a)", R"("^")"},
      {R"(a$)", R"("$")"},       {R"(a{2}+)", "intervals"},  {R"(a{2}?)", "intervals"},
      {R"(a{,2})", "intervals"}, {R"(a{x)", "intervals"},    {R"((?i)a)", "(?i)"},
      {R"((?m:a))", "(?m:"},     {R"((?<n>a))", "(?<n"},     {R"((*UTF)a)", "(*"},
      {"(?i:\u00df)", "ASCII"},  {"(?i:Strasse)", "\"ss\""}, {"a\\", "escape"},
  };
  for (const auto& [regex, named] : cases) {
    try {
      SplitPattern{regex};
      ADD_FAILURE() << regex << " was taken";
    } catch (const UnsupportedError& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr(named)) << regex;
    }
  }
}

TEST(SplitPattern, DamagedPatternsAreRefused) {
  for (const char* regex : {"(", ")", "[a", "a**", "*", "(?:", "(?<=a+)b", "((a{1000}){1000}){1000}"}) {
    EXPECT_THROW(SplitPattern{regex}, ModelError) << regex;
  }
  EXPECT_THROW(SplitPattern{std::string(20'000, 'a')}, UnsupportedError);
}

TEST(SplitPattern, EndlessMatchesGiveUp) {
  EXPECT_THROW(split("(a+)+[bc]", std::string(200, 'a')), ModelError);
}

TEST(SplitPattern, DeepMatchesFallBackToTheHeap) {
  const std::string text(200'000, 'a');
  EXPECT_EQ(split("(?:a|b)+", text), Strings{text});
}

}  // namespace
}  // namespace veloxquant::tokenizing
