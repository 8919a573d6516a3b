#include "size_text.hpp"

#include <gtest/gtest.h>

#include <veloxquant/core/error.hpp>

namespace veloxquant::cli {
namespace {

TEST(SizeText, ReadsWhatPeopleWrite) {
  EXPECT_EQ(parse_size("512"), 512u);
  EXPECT_EQ(parse_size("8G"), std::uint64_t{8} << 30);
  EXPECT_EQ(parse_size("1.5 GiB"), (std::uint64_t{3} << 30) / 2);
  EXPECT_EQ(parse_size("64kb"), 65536u);
  for (const char* text : {"", "G", "-1G", "0", "8X", "8GG", "nan", "1e99G"})
    EXPECT_THROW(parse_size(text), ConfigError) << text;
  EXPECT_EQ(format_size(1536), "1.50 KiB");
  EXPECT_EQ(format_size(12), "12 B");
}

}  // namespace
}  // namespace veloxquant::cli
