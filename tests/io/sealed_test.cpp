#include <fmt/format.h>
#include <xxhash.h>

#include "io/fixtures.hpp"

namespace veloxquant::test {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

NamedTensors small() {
  return {{"layers.0.codes", counting({4, 3}, DType::u8, 7)},
          {"layers.0.scale", counting({3}, DType::f32, 100)},
          {"empty", counting({0, 4}, DType::bf16)},
          {"scalar", counting({}, DType::i64, 9)}};
}

TEST(Sealed, OpensAndShowsItsChecksum) {
  const TempFolder folder;
  write_sealed_safetensors(folder / "f", small(), {{"method", "trellis"}});
  const auto file = open_sealed_safetensors(folder / "f");
  EXPECT_EQ(file.metadata().at("method"), "trellis");
  EXPECT_THAT(file.metadata().at(kChecksumKey), MatchesRegex("[0-9a-f]{16}"));
}

// The bytes that <veloxquant/io/safetensors.hpp> says are hashed.
std::string text_field(const std::string& text) { return length_field(text.size()) + text; }

// Of a file without a version, as they were before files named it: its checksum is frozen, and it still
// verifies.
TEST(Sealed, TheHashIsTheDocumentedOne) {
  const TempFolder folder;
  write_safetensors(folder / "f",
                    {{"b", counting({2, 1}, DType::i16, 7)}, {"a", counting({1}, DType::u8, 5)}},
                    {{"method", "trellis"}, {"bits", "2"}, {kChecksumKey, "f8c7f0217366cbea"}});
  const std::string bytes = text_field("veloxquant seal 1") +                         //
                            length_field(2) + text_field("bits") + text_field("2") +  //
                            text_field("method") + text_field("trellis") +            //
                            length_field(2) +                                         //
                            text_field("a") + text_field("U8") + length_field(1) + length_field(1) +
                            "\5" +  //
                            text_field("b") + text_field("I16") + length_field(2) + length_field(2) +
                            length_field(1) + "\7\10\11\12";
  const auto file = open_sealed_safetensors(folder / "f");
  EXPECT_EQ(file.metadata().at(kChecksumKey),
            fmt::format("{:016x}", XXH3_64bits(bytes.data(), bytes.size())));
}

TEST(Sealed, EveryFlippedBitIsDetected) {
  const TempFolder folder;
  write_sealed_safetensors(
      folder / "f", small(),
      {{"config", "{\n\t\"bits\": 2,\n\t\"path\": \"a\\\\b\"\r\n}"}, {"caf\xc3\xa9", ""}});
  std::string bytes = get(folder / "f");
  verify_seal(parse(bytes));
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    EXPECT_THROW(verify_seal(parse(bytes)), ArtifactError) << "bit " << bit % 8 << " of byte " << bit / 8;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
  }
}

TEST(Sealed, EveryTruncationIsRefused) {
  const TempFolder folder;
  write_sealed_safetensors(folder / "f", small());
  const std::string bytes = get(folder / "f");
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THROW(verify_seal(parse(bytes.substr(0, size))), ArtifactError) << size;
  }
}

TEST(Sealed, FilesOfOthersAreRefused) {
  const TempFolder folder;
  write_safetensors(folder / "f", small());
  EXPECT_THAT(error_of<ArtifactError>([&] { open_sealed_safetensors(folder / "f"); }),
              HasSubstr("no metadata entry veloxquant.checksum"));
  write_safetensors(folder / "f", small(), {{kChecksumKey, "not a checksum"}});
  EXPECT_THAT(error_of<ArtifactError>([&] { open_sealed_safetensors(folder / "f"); }),
              HasSubstr("says checksum 'not a checksum' but its content gives"));
}

TEST(Sealed, AStaleChecksumInTheMetadataIsReplaced) {
  const TempFolder folder;
  write_sealed_safetensors(folder / "f", small(), {{"k", "v"}});
  Metadata metadata = open_sealed_safetensors(folder / "f").metadata();
  metadata["k"] = "w";
  write_sealed_safetensors(folder / "g", small(), metadata);
  EXPECT_EQ(open_sealed_safetensors(folder / "g").metadata().at("k"), "w");
}

TEST(Sealed, TheSealOutlivesAnotherOrderOfTheTensors) {
  const TempFolder folder;
  NamedTensors tensors = small();
  write_sealed_safetensors(folder / "f", tensors);
  const auto file = open_sealed_safetensors(folder / "f");
  std::reverse(tensors.begin(), tensors.end());
  write_safetensors(folder / "g", tensors, file.metadata());
  open_sealed_safetensors(folder / "g");
}

TEST(Sealed, FieldsDoNotRunTogether) {
  const TempFolder folder;
  const auto checksum = [&](const NamedTensors& tensors, const Metadata& metadata) {
    write_sealed_safetensors(folder / "f", tensors, metadata);
    return open_sealed_safetensors(folder / "f").metadata().at(kChecksumKey);
  };
  const Tensor t = counting({2}, DType::u8);
  EXPECT_NE(checksum({{"a", t}}, {{"k", "vw"}}), checksum({{"a", t}}, {{"kv", "w"}}));
  EXPECT_NE(checksum({{"a", t}}, {}), checksum({{"b", t}}, {}));
  EXPECT_NE(checksum({{"a", t}}, {}), checksum({{"a", t.reshape({1, 2})}}, {}));
  EXPECT_NE(checksum({{"a", t}}, {}), checksum({{"a", Tensor::wrap(t.raw(), {2}, DType::i8)}}, {}));
  EXPECT_NE(checksum({{"a", t}}, {}), checksum({{"a", t}, {"b", counting({0}, DType::u8)}}, {}));
}

}  // namespace
}  // namespace veloxquant::test
