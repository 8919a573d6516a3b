// Every way of being malformed that we could name, each refused for its own reason.
#include <sys/stat.h>

#include "io/fixtures.hpp"

namespace veloxquant::test {
namespace {

using testing::HasSubstr;

constexpr const char* kGood = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
const std::string kEight(8, 'x');

struct Malformed {
  std::string name, bytes;
  std::string reason;  // a part of the message
  SafetensorsLimits limits = {};

  friend void PrintTo(const Malformed& c, std::ostream* out) { *out << c.name; }
};

std::string tensor(const std::string& body) { return R"({"a":{)" + body + "}}"; }

std::string with_shape(const std::string& shape, const std::string& dtype = "F32") {
  return tensor(R"("dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":[0,8])");
}

std::string with_offsets(const std::string& offsets) {
  return tensor(R"("dtype":"F32","shape":[2],"data_offsets":)" + offsets);
}

std::string with_name(const std::string& name) {
  return R"({")" + name + R"(":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
}

std::string two(const std::string& first, const std::string& second) {  // U8 tensors of 4 bytes
  return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + first +
         R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}";
}

std::string with_metadata(const std::string& metadata) {
  return R"({"__metadata__":)" + metadata + R"(,"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
}

std::string many_tensors(int count) {
  std::string header = "{";
  for (int i = 0; i < count; ++i) {
    header +=
        (i ? "," : "") + ("\"t" + std::to_string(i)) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  }
  return header + "}";
}

std::vector<Malformed> containers() {
  return {
      {"Empty", "", "holds 0 bytes"},
      {"OneByte", "\x10", "holds 1 bytes"},
      {"SevenBytes", "\x02\0\0\0\0\0\0", "holds"},
      {"LengthAlone", length_field(2), "beyond the file of 8 bytes"},
      {"LengthZero", length_field(0) + "{}", "header length 0"},
      {"LengthOne", length_field(1) + "{}", "header length 1"},
      {"LengthOverCap", length_field(100'000'001) + "{}", "the limit is 100000000"},
      {"LengthOverOwnCap", file_of(kGood, kEight), "the limit is 10", {.max_header_bytes = 10}},
      {"LengthOverFile", length_field(60) + kGood, "is beyond the file of"},
      {"LengthHuge", std::string(8, '\xff') + "{}", "header length 18446744073709551615"},
      {"LengthNearWrap", length_field(~std::uint64_t{7}) + "{}", "header length 18446744073709551608"},
      {"FileOverLimit", file_of(kGood, kEight), "the limit is 16", {.max_file_bytes = 16}},
      {"NotUtf8", file_of(with_name("\xff\xfe"), kEight), "UTF-8"},
      {"OverlongUtf8", file_of(with_name("\xc0\xaf"), kEight), "UTF-8"},
      {"SurrogateAlone", file_of(with_name("\\ud800"), kEight), "surrogate"},
      {"NotJson", file_of("{abc}"), "is not JSON"},
      {"CutJson", file_of(R"({"a":{"dtype":"F32","shape":{})"), "key 'shape': found an object"},
      {"CutJsonInATensor", file_of(R"({"__metadata__":{"k":"v"})"), "is not JSON"},
      {"CommentInJson", file_of("{/* */}"), "is not JSON"},
      {"TrailingComma", file_of(R"({"__metadata__":{},})"), "is not JSON"},
      {"TopLevelArray", file_of("[]"), "header begins with '['"},
      {"TopLevelString", file_of("\"a\""), "header begins with '\"'"},
      {"TopLevelNumber", file_of("17"), "header begins with '1'"},
      {"LeadingSpace", file_of(" {}"), "header begins with ' '"},
      {"ByteOrderMark", file_of("\xef\xbb\xbf{}"), "header begins with"},
      {"NulPadding", file_of(std::string("{}\0\0", 4)), "header ends with '\\x00' (byte 11)"},
      {"NulWithin", file_of(std::string("{}\0 {}", 6)), "a NUL byte (near byte 10)"},
      {"NewlinePadding", file_of("{}\n"), "header ends with '\\x0a'"},
      {"TrailingText", file_of("{} x"), "header ends with 'x'"},
      {"SecondObject", file_of("{} {}"), "is not JSON"},
      {"NestingBombOfArrays", file_of("{\"a\":" + std::string(100'000, '[') + "}"), "found an array"},
      {"NestingBombOfObjects", file_of(R"({"a":{"shape":{"a":{"a":{"a":{}}}}}})"), "found an object"},
      {"TooManyTensors", file_of(many_tensors(101)), "the limit is 100 tensors", {.max_tensors = 100}},
  };
}

std::vector<Malformed> keys() {
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  const std::string rest = R"("shape":[2],"data_offsets":[0,8])";
  return {
      {"DuplicateTensor", file_of("{" + a + "," + a + "}", kEight), "tensor 'a' occurs twice"},
      {"DuplicateTensorByEscape", file_of("{" + a + "," + R"("\u0061")" + a.substr(3) + "}", kEight),
       "occurs twice"},
      {"DuplicateDtype", file_of(tensor(R"("dtype":"F32","dtype":"F32",)" + rest), kEight),
       "key 'dtype' occurs twice"},
      {"DuplicateShape", file_of(tensor(R"("dtype":"F32","shape":[2],)" + rest), kEight),
       "key 'shape' occurs twice"},
      {"DuplicateOffsets", file_of(tensor(R"("dtype":"F32","data_offsets":[0,8],)" + rest), kEight),
       "occurs twice"},
      {"MissingDtype", file_of(tensor(rest), kEight), "has no dtype"},
      {"MissingShape", file_of(tensor(R"("dtype":"F32","data_offsets":[0,8])"), kEight), "has no shape"},
      {"MissingOffsets", file_of(tensor(R"("dtype":"F32","shape":[2])"), kEight), "has no data_offsets"},
      {"EmptyTensorObject", file_of(R"({"a":{}})"), "has no dtype"},
      {"UnknownKey", file_of(tensor(R"("dtype":"F32","strides":[1],)" + rest), kEight),
       "key 'strides' is unknown"},
      {"KeyInOtherCase", file_of(tensor(R"("Dtype":"F32",)" + rest), kEight), "key 'Dtype' is unknown"},
      {"NameEmpty", file_of(with_name(""), kEight), "empty name"},
      {"NameWithNul", file_of(with_name("a\\u0000b"), kEight), "control character"},
      {"NameWithRawControl", file_of(with_name("a\x01"), kEight), "is not JSON"},
      {"NameWithControl", file_of(with_name("a\\nb"), kEight), "'a\\x0ab' has a control character"},
      {"NameWithDelete", file_of(with_name("a\x7f"), kEight), "control character"},
      {"NameWithSlash", file_of(with_name("a/b"), kEight), "path separator"},
      {"NameWithBackslash", file_of(with_name("a\\\\b"), kEight), "path separator"},
      {"NameOverlong", file_of(with_name(std::string(513, 'n')), kEight),
       "a name of 513 bytes; the limit is 512"},
      {"MetadataTwice", file_of(R"({"__metadata__":{},"__metadata__":{}})"), "__metadata__ occurs twice"},
      {"MetadataKeyTwice", file_of(with_metadata(R"({"k":"1","k":"2"})"), kEight), "key 'k' occurs twice"},
      {"MetadataNumber", file_of(with_metadata(R"({"k":1})"), kEight), "key 'k': found the number 1"},
      {"MetadataNull", file_of(with_metadata(R"({"k":null})"), kEight), "found null"},
      {"MetadataNested", file_of(with_metadata(R"({"k":{}})"), kEight), "found an object"},
      {"MetadataArray", file_of(with_metadata("[]"), kEight), "__metadata__: found an array"},
      {"MetadataString", file_of(with_metadata(R"("x")"), kEight), "__metadata__: found the string 'x'"},
      {"MetadataManyEntries",
       file_of(with_metadata(R"({"a":"","b":"","c":""})"), kEight),
       "the limit is 2 entries",
       {.max_metadata_entries = 2}},
      {"MetadataLong",
       file_of(with_metadata(R"({"k":"123456789"})"), kEight),
       "to 10 bytes; the limit is 9",
       {.max_metadata_bytes = 9}},
  };
}

std::vector<Malformed> types() {
  std::vector<Malformed> cases;
  const std::vector<std::pair<std::string, std::string>> wrong{{"Null", "null"},   {"True", "true"},
                                                               {"Number", "7"},    {"Float", "1.5"},
                                                               {"Negative", "-1"}, {"Object", "{}"}};
  for (const auto& [kind, value] : wrong) {
    cases.push_back({"Tensor" + kind, file_of(R"({"a":)" + value + "}"),
                     kind == "Object" ? "has no dtype" : "tensor 'a': found"});
    cases.push_back({"Dtype" + kind, file_of(tensor(R"("dtype":)" + value)), "key 'dtype': found"});
    cases.push_back({"Shape" + kind, file_of(with_shape(value), kEight), "key 'shape': found"});
    cases.push_back({"Offsets" + kind, file_of(with_offsets(value), kEight), "key 'data_offsets': found"});
    if (kind == "Number") continue;
    cases.push_back({"Extent" + kind, file_of(with_shape("[" + value + "]"), kEight), "key 'shape': found"});
    cases.push_back(
        {"Offset" + kind, file_of(with_offsets("[0," + value + "]"), kEight), "key 'data_offsets': found"});
  }
  for (const char* text : {"BOOL", "F4", "F6_E2M3", "F6_E3M2", "F8_E5M2", "F8_E8M0", "C64"}) {
    cases.push_back({std::string("Dtype") + text, file_of(with_shape("[2]", text), kEight),
                     std::string("'") + text + "' is not served"});
  }
  cases.push_back({"SubByteMisaligned", file_of(with_shape("[3]", "F4"), kEight), "'F4' is not served"});
  cases.push_back({"DtypeUnknown", file_of(with_shape("[2]", "F33"), kEight), "'F33' is unknown"});
  cases.push_back({"DtypeLowerCase", file_of(with_shape("[2]", "f32"), kEight), "'f32' is unknown"});
  cases.push_back({"DtypeEmpty", file_of(with_shape("[2]", ""), kEight), "'' is unknown"});
  cases.push_back({"ShapeString", file_of(with_shape("\"2\""), kEight), "key 'shape': found the string '2'"});
  cases.push_back({"ExtentArray", file_of(with_shape("[[2]]"), kEight), "key 'shape': found an array"});
  cases.push_back({"DtypeArray", file_of(tensor(R"("dtype":["F32"])")), "key 'dtype': found an array"});
  return cases;
}

std::vector<Malformed> numbers() {
  return {
      {"ExtentNegativeZero", file_of(with_shape("[-0]"), kEight), "negative number"},
      {"ExtentFraction", file_of(with_shape("[2.0]"), kEight), "found the number '2.0'"},
      {"ExtentExponent", file_of(with_shape("[2e0]"), kEight), "found the number '2e0'"},
      {"ExtentLeadingZero", file_of(with_shape("[02]"), kEight), "is not JSON"},
      {"ExtentPlus", file_of(with_shape("[+2]"), kEight), "is not JSON"},
      {"ExtentHexadecimal", file_of(with_shape("[0x2]"), kEight), "is not JSON"},
      {"ExtentBeyond64Bits", file_of(with_shape("[18446744073709551616]"), kEight), "'18446744073709551616'"},
      {"ExtentBeyond63Bits", file_of(with_shape("[9223372036854775808]"), kEight), "is beyond 2^63-1"},
      {"ExtentNotANumber", file_of(with_shape("[NaN]"), kEight), "is not JSON"},
      {"OffsetLeadingZero", file_of(with_offsets("[00,8]"), kEight), "is not JSON"},
      {"OffsetExponent", file_of(with_offsets("[0,8e0]"), kEight), "'8e0'"},
      {"OffsetBeyond64Bits", file_of(with_offsets("[0,18446744073709551624]"), kEight),
       "'18446744073709551624'"},
      {"OffsetLong", file_of(with_offsets("[0," + std::string(4000, '9') + "]"), kEight), "number overflow"},
      {"RankOverLimit", file_of(with_shape("[1,1,1,1,1,1,1,1,2]"), kEight), "more than 8 axes"},
      {"RankHuge",
       file_of(with_shape("[2" + std::string(100'000, ' ') + ",1,1]"), kEight),
       "more than 2 axes",
       {.max_rank = 2}},
      {"ShapeWraps", file_of(with_shape("[4294967296,4294967296]"), kEight), "more than 2^62 bytes"},
      {"ShapeWrapsToRightSize", file_of(with_shape("[4611686018427387905,2]"), kEight),
       "more than 2^62 bytes"},
      {"BytesWrap", file_of(with_shape("[4611686018427387906]"), kEight), "more than 2^62 bytes"},
      {"BytesWrapBesideZero", file_of(with_shape("[0,4611686018427387904,4]"), kEight),
       "more than 2^62 bytes"},
  };
}

std::vector<Malformed> ranges() {
  return {
      {"OffsetsNone", file_of(with_offsets("[]"), kEight), "has 0 data_offsets"},
      {"OffsetsOne", file_of(with_offsets("[8]"), kEight), "has 1 data_offsets"},
      {"OffsetsThree", file_of(with_offsets("[0,8,8]"), kEight), "more than two numbers"},
      {"OffsetsReversed", file_of(with_offsets("[8,0]"), kEight), "end before they begin"},
      {"OffsetsBeyondFile", file_of(with_offsets("[0,16]"), kEight), "[0, 16], beyond the 8 bytes of data"},
      {"OffsetsHuge", file_of(with_offsets("[18446744073709551607,18446744073709551615]"), kEight),
       "beyond the 8 bytes"},
      {"SizeBelowShape", file_of(with_shape("[3]"), kEight), "8 bytes, but shape [3] of F32 takes 12"},
      {"SizeAboveShape", file_of(with_shape("[1]"), kEight), "8 bytes, but shape [1] of F32 takes 4"},
      {"SizeOfScalar", file_of(with_shape("[]"), kEight), "shape [] of F32 takes 4"},
      {"SizeOfEmpty", file_of(with_shape("[2,0]"), kEight), "shape [2, 0] of F32 takes 0"},
      {"Overlap", file_of(two("[0,4]", "[3,7]"), std::string(7, 'x')), "an overlap"},
      {"SameRange", file_of(two("[0,4]", "[0,4]"), std::string(4, 'x')), "an overlap"},
      {"Hole", file_of(two("[0,4]", "[5,9]"), std::string(9, 'x')), "a hole"},
      {"HoleAtTheBegin", file_of(two("[1,5]", "[5,9]"), std::string(9, 'x')), "a hole"},
      {"EmptyTensorWithinAnother",
       file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
               R"("b":{"dtype":"U8","shape":[0],"data_offsets":[4,4]}})",
               kEight),
       "an overlap"},
      {"TrailingBytes", file_of(kGood, kEight + "PK"), "2 bytes are left over"},
      {"TrailingBytesWithoutTensors", file_of("{}", "x"),
       "1 bytes are left over after the last tensor (byte 10)"},
      {"TruncatedData", file_of(kGood, "1234567"), "beyond the 7 bytes of data; the file may be cut short"},
      {"DataMissing", file_of(kGood), "beyond the 0 bytes of data"},
  };
}

class MalformedTest : public testing::TestWithParam<Malformed> {};

TEST_P(MalformedTest, IsRefusedForItsReason) {
  const Malformed& c = GetParam();
  const std::string message = error_of<ArtifactError>([&] { parse(c.bytes, c.limits); });
  EXPECT_THAT(message, HasSubstr(c.reason));
  EXPECT_THAT(message, HasSubstr("[parse] 'test'")) << "the operation and the file";
  EXPECT_LT(message.size(), 1500u) << "text of strangers is cut";
}

TEST_P(MalformedTest, IsRefusedFromDiskAlike) {
  const Malformed& c = GetParam();
  const TempFolder folder;
  put(folder / "file.safetensors", c.bytes);
  if (c.limits.max_file_bytes < c.bytes.size()) return;  // the operating system's size is checked first
  error_of<ArtifactError>([&] { SafetensorsFile::open(folder / "file.safetensors", c.limits); });
}

const auto kName = [](const testing::TestParamInfo<Malformed>& info) { return info.param.name; };
INSTANTIATE_TEST_SUITE_P(Container, MalformedTest, testing::ValuesIn(containers()), kName);
INSTANTIATE_TEST_SUITE_P(Keys, MalformedTest, testing::ValuesIn(keys()), kName);
INSTANTIATE_TEST_SUITE_P(Types, MalformedTest, testing::ValuesIn(types()), kName);
INSTANTIATE_TEST_SUITE_P(Numbers, MalformedTest, testing::ValuesIn(numbers()), kName);
INSTANTIATE_TEST_SUITE_P(Ranges, MalformedTest, testing::ValuesIn(ranges()), kName);

TEST(Malformed, TheUnbrokenFileIsAccepted) {
  EXPECT_EQ(parse(file_of(kGood, kEight)).tensors().size(), 1u);
  EXPECT_TRUE(parse(file_of("{}")).tensors().empty());
  EXPECT_EQ(parse(file_of(std::string(kGood) + "     ", kEight)).tensors().size(), 1u);
  EXPECT_EQ(parse(file_of(with_shape("[1,1,1,1,1,1,1,2]"), kEight)).tensors().at("a").shape.size(), 8u);
  EXPECT_EQ(parse(file_of(with_name(std::string(512, 'n')), kEight)).tensors().size(), 1u);
  EXPECT_EQ(parse(file_of(with_metadata(R"({"k":"v"})"), kEight)).metadata().at("k"), "v");
}

TEST(Malformed, DefaultLimitsHold) {
  const auto refused = [](const std::string& header) {
    return error_of<ArtifactError>([&] { parse(file_of(header, kEight)); });
  };
  EXPECT_THAT(refused(many_tensors(100'001)), HasSubstr("the limit is 100000 tensors"));
  EXPECT_THAT(refused(with_metadata(R"({"k":")" + std::string(17 << 20, 'v') + "\"}")),
              HasSubstr("the limit is 16777216"));
  std::string entries = R"({"k":"")";
  for (int i = 0; i < 4096; ++i) entries += ",\"" + std::to_string(i) + "\":\"\"";
  EXPECT_THAT(refused(with_metadata(entries + "}")), HasSubstr("the limit is 4096 entries"));
}

TEST(Malformed, OpenRefusesWhatIsNotAFile) {
  const TempFolder folder;
  EXPECT_THAT(error_of<IoError>([&] { SafetensorsFile::open(folder / "none"); }), HasSubstr("No such file"));
  EXPECT_THAT(error_of<IoError>([&] { SafetensorsFile::open(folder.path()); }), HasSubstr("a folder"));
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(error_of<IoError>([&] { SafetensorsFile::open(folder / "pipe"); }),
              HasSubstr("a pipe or a device"));
  EXPECT_THAT(error_of<IoError>([&] { SafetensorsFile::open("/dev/null"); }),
              HasSubstr("a pipe or a device"));
  std::filesystem::create_symlink("loop", folder / "loop");
  EXPECT_THAT(error_of<IoError>([&] { SafetensorsFile::open(folder / "loop"); }),
              HasSubstr("symbolic links"));
  put(folder / "big", "0123456789");
  EXPECT_THAT(error_of<IoError>([&] { SafetensorsFile::open(folder / "big", {.max_file_bytes = 9}); }),
              HasSubstr("holds 10 bytes; the limit is 9"));
}

}  // namespace
}  // namespace veloxquant::test
