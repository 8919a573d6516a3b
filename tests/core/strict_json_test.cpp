#include "core/strict_json.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace veloxquant {
namespace {

using ::testing::HasSubstr;

nlohmann::json parsed(const std::string& text) {
  return parse_strict_json(text, [](const std::string& what) { throw std::invalid_argument(what); });
}

std::string refusal(const std::string& text) {
  try {
    parsed(text);
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return {};
}

std::string nested(std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); }

// "[item,item,...]"
std::string list(std::size_t count, const std::string& item) {
  std::string text = "[" + item;
  for (std::size_t i = 1; i < count; ++i) text += "," + item;
  return text + "]";
}

TEST(StrictJson, ReadsWhatTheLibraryReads) {
  const std::string text = R"({"b": [1, -2, 3.5, true, null, "\u00e9"], "a": {"b": {}, "c": []}})";
  EXPECT_EQ(parsed(text), nlohmann::json::parse(text));
  EXPECT_EQ(parsed(nested(kDeepestJson)), nlohmann::json::parse(nested(kDeepestJson)));
}

// In seconds that do not grow with the square: of a list of objects, and of an object with many members.
TEST(StrictJson, ManySiblingsAreRead) {
  constexpr std::size_t kMany = 200'000;
  EXPECT_EQ(parsed("{\"x\":" + list(kMany, "{}") + "}")["x"].size(), kMany);
  std::string text = "{\"0\":{}";
  for (std::size_t i = 1; i < kMany; ++i) text += ",\"" + std::to_string(i) + "\":{}";
  EXPECT_EQ(parsed(text + "}").size(), kMany);
}

TEST(StrictJson, Refuses) {
  EXPECT_THAT(refusal(nested(kDeepestJson + 1)), HasSubstr("nests deeper than 32 levels"));
  EXPECT_THAT(refusal(std::string(1'000'000, '[')), HasSubstr("nests deeper than 32 levels"));
  EXPECT_THAT(refusal(R"({"a": 1, "b": [{"c": 1, "d": {}, "c": 2}]})"), HasSubstr("names 'c' twice"));
  EXPECT_EQ(refusal(R"([{"a": 1}, {"a": 1, "b": {"a": 1}}])"), "");
  EXPECT_THAT(refusal(list(kMostJsonValues, "0")), HasSubstr("holds more than 8388608 values"));
  EXPECT_THAT(refusal("{\"a\": 1,}"), HasSubstr("is not JSON"));
  EXPECT_THAT(refusal("1e999"), HasSubstr("is not JSON"));
  EXPECT_THAT(refusal("[] []"), HasSubstr("is not JSON"));
  EXPECT_THAT(refusal("\xff"), HasSubstr("is not JSON"));
}

}  // namespace
}  // namespace veloxquant
