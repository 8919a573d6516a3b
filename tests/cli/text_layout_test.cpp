// Lines for people, and what an unknown word may have meant.
#include "text_layout.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace veloxquant::cli {
namespace {

TEST(Wrapped, WordsGoOnBelow) {
  EXPECT_EQ(wrapped("one two three", 2, 10), "one two\n  three");
  EXPECT_EQ(wrapped("unbreakable", 2, 5), "unbreakable");
  EXPECT_EQ(wrapped("", 2, 10), "");
}

TEST(Nearest, IsABeginningOrAFewLettersAway) {
  const std::vector<std::string> known = {"benchmark", "plan", "list", "fp16", "fp32"};
  EXPECT_EQ(nearest("bench", known), "benchmark");
  EXPECT_EQ(nearest("lsit", known), "list");
  EXPECT_EQ(nearest("lst", known), "list");
  EXPECT_EQ(nearest("plann", known), "plan");
  EXPECT_EQ(nearest("fp15", known), "fp16");
  EXPECT_EQ(nearest("doctor", known), std::nullopt);
  EXPECT_EQ(nearest("", known), std::nullopt);
  EXPECT_EQ(nearest(std::string(100000, 'x'), known), std::nullopt);
}

}  // namespace
}  // namespace veloxquant::cli
