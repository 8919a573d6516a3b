#include "pack/bits.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "cpu_levels.hpp"
#include "pack/pack_rows.hpp"
#include "transform/random.hpp"

namespace veloxquant {
namespace {

class Bits : public ::testing::TestWithParam<int> {};

std::vector<std::uint8_t> random_codes(int count, int bits) {
  SplitMix64 random(static_cast<std::uint64_t>(bits));
  std::vector<std::uint8_t> codes;
  for (int c = 0; c < count; ++c)
    codes.push_back(static_cast<std::uint8_t>(random.below(std::uint64_t{1} << bits)));
  return codes;
}

TEST_P(Bits, PackingFollowsTheDefinitionBitByBit) {
  const int bits = GetParam();
  for (const int count : {1, 2, 7, 8, 9, 16, 66, 80, 128}) {
    const auto codes = random_codes(count, bits);
    std::vector<std::uint8_t> packed(packed_bytes(count, bits), 0xff), expected(packed.size(), 0);
    pack_codes(codes.data(), count, bits, packed.data());
    for (int c = 0; c < count; ++c)
      for (int b = 0; b < bits; ++b) {
        const int at = c * bits + b;
        expected[at / 8] = static_cast<std::uint8_t>(expected[at / 8] | ((codes[c] >> b & 1) << (at % 8)));
      }
    EXPECT_EQ(packed, expected) << count;
  }
}

TEST_P(Bits, RowsArePackedAsTheyAreAlone) {
  const int bits = GetParam();
  test::on_every_cpu_level([&](const std::string& level) {
    for (const int count : {1, 2, 7, 8, 9, 16, 66, 80, 128}) {
      for (const std::size_t rows : {0u, 1u, 2u, 5u}) {
        const auto codes = random_codes(count * static_cast<int>(rows), bits);
        const std::size_t bytes = packed_bytes(count, bits);
        std::vector<std::uint8_t> packed(rows * bytes, 0xff), expected(packed.size());
        for (std::size_t i = 0; i < rows; ++i) {
          pack_codes(codes.data() + i * static_cast<std::size_t>(count), count, bits,
                     expected.data() + i * bytes);
        }
        pack_rows(codes.data(), rows, count, bits, packed.data());
        ASSERT_EQ(packed, expected) << level << " " << count << " " << rows;
      }
    }
  });
}

TEST_P(Bits, UnpackingAndReadingGiveTheCodesBack) {
  const int bits = GetParam();
  for (const int count : {1, 2, 7, 8, 9, 16, 66, 80, 128}) {
    const auto codes = random_codes(count, bits);
    // Exactly as large as needed, so that a sanitizer sees every byte too many.
    std::vector<std::uint8_t> packed(packed_bytes(count, bits)), unpacked(codes.size());
    pack_codes(codes.data(), count, bits, packed.data());
    unpack_codes(packed.data(), count, bits, unpacked.data());
    EXPECT_EQ(unpacked, codes) << count;
    for (int c = 0; c < count; ++c)
      ASSERT_EQ(read_bits(packed.data(), static_cast<std::size_t>(c * bits), bits), codes[c])
          << count << " " << c;
  }
}

TEST_P(Bits, CyclicReadsGoOnAtTheStart) {
  const int bits = GetParam();
  for (const int count : {8, 18, 33}) {
    std::vector<std::uint8_t> packed(packed_bytes(count, bits));
    pack_codes(random_codes(count, bits).data(), count, bits, packed.data());
    const int total = count * bits;
    for (int first = 0; first < total; ++first) {
      unsigned expected = 0;
      for (int b = 0; b < 8; ++b) {
        const int at = (first + b) % total;
        expected |= (packed[at / 8] >> (at % 8) & 1u) << b;
      }
      ASSERT_EQ(read_cyclic_bits(packed.data(), static_cast<std::size_t>(first), 8,
                                 static_cast<std::size_t>(total)),
                expected);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllWidths, Bits, ::testing::Range(1, 9));

}  // namespace
}  // namespace veloxquant
