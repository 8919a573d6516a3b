#include "models/tokenizer_nfc.hpp"

#include <gtest/gtest.h>

#include "core/utf8.hpp"
#include "models_tokenizer/sha256.hpp"

namespace veloxquant::tokenizing {
namespace {

TEST(Nfc, ComposesReordersAndExcludes) {
  EXPECT_EQ(to_nfc(""), "");
  EXPECT_EQ(to_nfc("plain \u00e9"), "plain \u00e9");
  EXPECT_EQ(to_nfc("cafe\u0301s"), "caf\u00e9s");
  EXPECT_EQ(to_nfc("q\u0307\u0323"), "q\u0323\u0307");  // by combining class
  EXPECT_EQ(to_nfc("\u1e0b\u0323"), "\u1e0d\u0307");    // d, dot above, dot below
  EXPECT_EQ(to_nfc("\u212b\u2126"), "\u00c5\u03a9");    // singletons
  EXPECT_EQ(to_nfc("\u0958"), "\u0915\u093c");          // a composition exclusion
  EXPECT_EQ(to_nfc("\u1100\u1161\u11a8"), "\uac01");    // Hangul
  EXPECT_EQ(to_nfc("\uac00\u11a7"), "\uac00\u11a7");    // U+11A7 is no trailing consonant
  EXPECT_EQ(to_nfc("e\u0301\nx\u2019s e\u0301"), "\u00e9\nx\u2019s \u00e9");
}

// The digest is what this program prints under Python 3.11, whose Unicode data are version 14 as well:
//   import hashlib, unicodedata
//   n = lambda text: unicodedata.normalize('NFC', text).encode()
//   h = hashlib.sha256()
//   for c in range(0x110000):
//       if not 0xD800 <= c < 0xE000:
//           h.update(n(chr(c)) + n('e' + chr(c) + '\u0301\u0323') + n('\u1100' + chr(c) + '\u11a8'))
//   print(h.hexdigest())
TEST(Nfc, EveryCodePointAloneAndInCompany) {
  std::string all;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_code_point(text, c);
    all += to_nfc(text) + to_nfc("e" + text + "\u0301\u0323") + to_nfc("\u1100" + text + "\u11a8");
  }
  EXPECT_EQ(testing::sha256(all), "b55a5686fc89d9b22195d16d86841f7d1505a433110b51d357fbf98e70685cf6");
}

}  // namespace
}  // namespace veloxquant::tokenizing
