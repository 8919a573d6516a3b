#include "core/quote.hpp"

#include <gtest/gtest.h>

namespace veloxquant {
namespace {

TEST(Quote, ShowsWhatIsThere) {
  EXPECT_EQ(printable("caf\u00e9 \u6f22 \U0001f600"), "caf\u00e9 \u6f22 \U0001f600");
  EXPECT_EQ(printable("\x1b[31m\x7f\n"), "\\x1b[31m\\x7f\\x0a");
  EXPECT_EQ(printable("\xc2\x9b"
                      "2J"),
            "\\xc2\\x9b2J");
  EXPECT_EQ(printable("a\xff\xe2\x80"), "a\\xff\\xe2\\x80");
  for (const char* hidden :
       {"\u061c", "\u200b", "\u200f", "\u2028", "\u2029", "\u202a", "\u202e", "\u2066", "\u2069", "\ufeff"}) {
    const std::string shown = printable(hidden);
    EXPECT_EQ(shown.find_first_not_of("\\x0123456789abcdef"), std::string::npos) << shown;
  }
  for (const char* seen : {"\u200a", "\u2010", "\u2027", "\u202f", "\u2065", "\u206a", "\ufefe"})
    EXPECT_EQ(printable(seen), seen);
}

TEST(Quote, LongTextIsCutBetweenCharacters) {
  EXPECT_EQ(printable_head(std::string(200, 'a')), std::string(200, 'a'));
  EXPECT_EQ(printable_head(std::string(201, 'a')), std::string(200, 'a') + "... (201 bytes)");
  EXPECT_EQ(printable_head(std::string(199, 'a') + "\u00e9"), std::string(199, 'a') + "... (201 bytes)");
  EXPECT_EQ(quote(std::string(159, 'a') + "\u00e9"), "'" + std::string(159, 'a') + "...' (161 bytes)");
}

}  // namespace
}  // namespace veloxquant
