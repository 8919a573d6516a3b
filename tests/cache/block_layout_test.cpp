#include "pack/block_layout.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "cache/page_list.hpp"
#include "cache/position_list.hpp"

namespace veloxquant {
namespace {

// The byte picture and the size formula of the header.
TEST(BlockLayout, IsAsDrawn) {
  const BlockLayout scalar4({64, 2}, {64, 2});
  EXPECT_EQ(scalar4.bytes(), 8448u);
  EXPECT_EQ(scalar4.key_codes(0), 0u);
  EXPECT_EQ(scalar4.key_scales(0), 4096u);
  EXPECT_EQ(scalar4.value_codes(0), 4224u);
  EXPECT_EQ(scalar4.value_scales(0), 8320u);
}

TEST(BlockLayout, SectionsTileThePage) {
  for (const VectorBytes keys : {VectorBytes{64, 2}, {17, 0}, {33, 6}, {512, 0}}) {
    for (const VectorBytes values : {VectorBytes{32, 2}, {1, 4}, {256, 0}}) {
      const BlockLayout layout(keys, values);
      std::vector<int> owners(layout.bytes(), 0);
      for (std::size_t slot = 0; slot < kPageTokens; ++slot) {
        for (std::size_t i = 0; i < keys.codes; ++i) ++owners[layout.key_codes(slot) + i];
        for (std::size_t i = 0; i < keys.scales; ++i) ++owners[layout.key_scales(slot) + i];
        for (std::size_t i = 0; i < values.codes; ++i) ++owners[layout.value_codes(slot) + i];
        for (std::size_t i = 0; i < values.scales; ++i) ++owners[layout.value_scales(slot) + i];
      }
      EXPECT_EQ(owners, std::vector<int>(layout.bytes(), 1));
      EXPECT_EQ(layout.bytes(), 64 * (keys.codes + keys.scales + values.codes + values.scales));
      for (const std::size_t begin :
           {layout.key_scales(0), layout.value_codes(0), layout.value_scales(0), layout.bytes()}) {
        EXPECT_EQ(begin % kPageAlignment, 0u);
      }
    }
  }
}

// Gains of keys and values share a byte; beside another scale, or none, a gain has its byte to itself.
TEST(BlockLayout, GainsShareAByte) {
  const VectorBytes key{17, 1, true}, value{32, 1, true}, other{32, 2}, nothing{};
  const BlockLayout shared(key, value);
  EXPECT_EQ(shared.bytes(), 64u * (17 + 1 + 32));
  EXPECT_EQ(shared.value_codes(0), 64u * 18);
  EXPECT_EQ(shared.value_scales(5), shared.key_scales(5));
  EXPECT_EQ(BlockLayout(key, other).bytes(), 64u * (17 + 1 + 32 + 2));
  EXPECT_EQ(BlockLayout(key, nothing).bytes(), 64u * 18);
  EXPECT_EQ(BlockLayout(nothing, value).bytes(), 64u * 33);
  for (std::uint8_t k = 0; k < 16; ++k) {
    for (std::uint8_t v = 0; v < 16; ++v) {
      EXPECT_EQ(key_gain(shared_gains(k, v)), k);
      EXPECT_EQ(value_gain(shared_gains(k, v)), v);
    }
  }
}

TEST(BlockLayout, CountsPages) {
  EXPECT_EQ(pages_for(0), 0);
  EXPECT_EQ(pages_for(1), 1);
  EXPECT_EQ(pages_for(64), 1);
  EXPECT_EQ(pages_for(65), 2);
}

TEST(PageList, SharesAndGivesBack) {
  const std::size_t before = held_bytes();
  {
    PageList pages(192);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pages.add()) % kPageAlignment, 0u);
    pages[1][5] = 7;
    EXPECT_EQ(held_bytes() - before, pages.nbytes());
    EXPECT_FALSE(pages.shared(1));
    {
      PageList copy(pages);
      EXPECT_TRUE(pages.shared(1));
      EXPECT_EQ(copy[1], pages[1]);
      PageList fresh(192);
      fresh.add_for(copy, 1, copy[1]);
      copy.exchange(1, fresh, 0);
      copy[1][5] = 8;
      EXPECT_FALSE(copy.shared(1));
      EXPECT_TRUE(fresh.shared(0));
      EXPECT_TRUE(pages.shared(0));
    }
    EXPECT_EQ(pages[1][5], 7);
    EXPECT_FALSE(pages.shared(0));
    EXPECT_EQ(held_bytes() - before, pages.nbytes());
    pages.truncate(1);
    EXPECT_EQ(held_bytes() - before, pages.nbytes());
  }
  EXPECT_EQ(held_bytes(), before);
}

TEST(PositionList, HoldsConsecutivePositionsInOneRun) {
  PositionList list;
  std::vector<std::int64_t> all;
  const auto add = [&](std::vector<std::int64_t> positions) {
    list.reserve(static_cast<std::int64_t>(all.size()), positions);
    list.append(static_cast<std::int64_t>(all.size()), positions);
    all.insert(all.end(), positions.begin(), positions.end());
  };
  for (std::int64_t i = 0; i < 1000; ++i) add({i});
  const std::size_t one_run = list.nbytes();
  EXPECT_LE(one_run, 64u);
  add({1000, 1001, 1010, 1011, 1020});
  add({1021, 5000});
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(list.at(static_cast<std::int64_t>(i)), all[i]);
  EXPECT_EQ(list.next(static_cast<std::int64_t>(all.size())), 5001);
  list.truncate(1003);
  EXPECT_EQ(list.at(1002), 1010);
  EXPECT_EQ(list.next(1003), 1011);
  list.truncate(0);
  EXPECT_EQ(list.next(0), 0);
}

}  // namespace
}  // namespace veloxquant
