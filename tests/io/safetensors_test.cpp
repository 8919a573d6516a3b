#include <gtest/gtest.h>
// after gtest, which it needs
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <veloxquant/core/version.hpp>
#include <veloxquant/io/files.hpp>

#include "io/fixtures.hpp"

namespace veloxquant::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr DType kAll[] = {DType::f32, DType::f16, DType::bf16, DType::fp8_e4m3, DType::i8,
                          DType::u8,  DType::i16, DType::u16,  DType::i32,      DType::u32,
                          DType::i64, DType::u64, DType::f64};

void expect_same(const Tensor& actual, const Tensor& expected) {
  EXPECT_EQ(actual.dtype(), expected.dtype());
  EXPECT_EQ(actual.shape(), expected.shape());
  EXPECT_EQ(bytes_of(actual), bytes_of(expected));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(actual.raw()) % size_of(actual.dtype()), 0u);
}

TEST(Safetensors, RoundTripOfEveryElementTypeAndRank) {
  const TempFolder folder;
  NamedTensors tensors;
  for (const DType dtype : kAll) {
    for (const Shape& shape :
         {Shape{}, Shape{1}, Shape{3}, Shape{0}, Shape{2, 0, 5}, Shape{3, 1, 7}, Shape(8, 1)}) {
      tensors.emplace_back(std::string(to_string(dtype)) + to_string(shape), counting(shape, dtype));
    }
  }
  const Metadata metadata{{"key", "value"}, {"quotes \" and \\", "lines\n\r\tand \xc3\xa9"}, {"", ""}};
  write_safetensors(folder / "f", tensors, metadata);

  const auto file = SafetensorsFile::open(folder / "f");
  EXPECT_EQ(file.metadata(), metadata);
  EXPECT_EQ(file.tensors().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(file.contains(name));
    expect_same(file.tensor(name), tensor);
  }
}

TEST(Safetensors, NothingAtAllRoundTrips) {
  const TempFolder folder;
  write_safetensors(folder / "f", {});
  EXPECT_TRUE(SafetensorsFile::open(folder / "f").tensors().empty());
}

TEST(Safetensors, BytesAreAFunctionOfTheArgumentsAndAsDocumented) {
  const TempFolder folder;
  const NamedTensors tensors{{"b", counting({3}, DType::u8, 1)}, {"a", counting({1}, DType::u16, 4)}};
  write_safetensors(folder / "f", tensors, {{"k", "v"}});
  const std::string header =
      R"({"__metadata__":{"k":"v"},"a":{"dtype":"U16","shape":[1],"data_offsets":[0,2]},)"
      R"("b":{"dtype":"U8","shape":[3],"data_offsets":[2,5]}})";
  const std::size_t padded = (8 + header.size() + 63) / 64 * 64 - 8;
  EXPECT_EQ(get(folder / "f"), file_of(header + std::string(padded - header.size(), ' '), "\4\5\1\2\3"));
}

TEST(Safetensors, StridedTensorsAreWrittenRowMajor) {
  const TempFolder folder;
  const Tensor matrix = counting({4, 6}, DType::i16);
  const Tensor transposed = Tensor::wrap(matrix.raw(), {6, 4}, DType::i16, {1, 6});
  write_safetensors(folder / "f", {{"t", transposed}, {"s", matrix.slice(1, 2, 4)}});
  const auto file = SafetensorsFile::open(folder / "f");
  expect_same(file.tensor("t"), transposed.copy());
  expect_same(file.tensor("s"), matrix.slice(1, 2, 4).copy());
}

TEST(Safetensors, TensorsAreViewsThatOutliveTheFile) {
  const TempFolder folder;
  const Tensor original = counting({1000}, DType::f32);
  write_safetensors(folder / "f", {{"a", original}});
  Tensor first, second;
  {
    const auto file = SafetensorsFile::open(folder / "f");
    first = file.tensor("a");
    second = file.tensor("a");
  }
  std::filesystem::remove(folder / "f");
  EXPECT_EQ(first.raw(), second.raw()) << "no copy";
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first.raw()) % 64, 0u);
  expect_same(first, original);
}

TEST(Safetensors, UnalignedElementsAreCopied) {
  // Data at byte 8 + 55 of the file, and behind a tensor of one byte.
  const std::string odd = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} )";
  ASSERT_EQ(odd.size() % 4, 3u);
  const auto file = parse(file_of(odd, "abcdefgh"));
  EXPECT_EQ(bytes_of(file.tensor("a")), "abcdefgh");
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file.tensor("a").raw()) % 4, 0u);

  const auto behind = parse(file_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                    R"("b":{"dtype":"I64","shape":[1],"data_offsets":[1,9]}})",
                                    "abcdefghi"));
  EXPECT_EQ(bytes_of(behind.tensor("b")), "bcdefghi");
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(behind.tensor("b").raw()) % 8, 0u);
}

TEST(Safetensors, HeaderOrderIsFreeAndEmptyTensorsStandAnywhere) {
  const auto file = parse(file_of(R"({"b":{"data_offsets":[2,4],"shape":[2],"dtype":"U8"},)"
                                  R"("e":{"dtype":"F32","shape":[0],"data_offsets":[2,2]},)"
                                  R"("a":{"shape":[2],"dtype":"U8","data_offsets":[0,2]}})",
                                  "abcd"));
  EXPECT_EQ(bytes_of(file.tensor("a")), "ab");
  EXPECT_EQ(bytes_of(file.tensor("b")), "cd");
  EXPECT_EQ(file.tensor("e").numel(), 0);
}

TEST(Safetensors, UnknownNamesAreErrors) {
  const auto file = parse(file_of("{}"));
  EXPECT_FALSE(file.contains("w"));
  EXPECT_THAT(error_of<ArtifactError>([&] { file.tensor("w"); }), HasSubstr("no tensor 'w' among its 0"));
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const TempFolder folder;
  write_safetensors(folder / "f", {{"a", counting({5}, DType::f32)}, {"b", counting({3}, DType::u8)}},
                    {{"k", "v"}});
  const std::string whole = get(folder / "f");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    error_of<ArtifactError>([&] { parse(whole.substr(0, size)); });
    put(folder / "cut", whole.substr(0, size));
    error_of<ArtifactError>([&] { SafetensorsFile::open(folder / "cut"); });
  }
  parse(whole);
}

TEST(Safetensors, EveryFlippedBitEndsInAValueOrAnError) {
  const TempFolder folder;
  write_safetensors(folder / "f", {{"a", counting({5}, DType::f32)}, {"b", counting({0}, DType::u8)}},
                    {{"k", "v"}});
  std::string bytes = get(folder / "f");
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    try {
      const auto file = parse(bytes);
      for (const auto& entry : file.tensors()) bytes_of(file.tensor(entry.first));
    } catch (const ArtifactError&) {
    }
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
  }
}

TEST(SafetensorsWriter, RefusesWhatTheReaderWouldRefuse) {
  const TempFolder folder;
  const Tensor t = counting({2}, DType::u8);
  const auto refused = [&](const NamedTensors& tensors, const Metadata& metadata = {}) {
    return error_of<ArtifactError>([&] { write_safetensors(folder / "f", tensors, metadata); });
  };
  EXPECT_THAT(refused({{"a", t}, {"a", t}}), HasSubstr("occurs twice"));
  EXPECT_THAT(refused({{"", t}}), HasSubstr("empty name"));
  EXPECT_THAT(refused({{"a/b", t}}), HasSubstr("path separator"));
  EXPECT_THAT(refused({{"__metadata__", t}}), HasSubstr("__metadata__"));
  EXPECT_THAT(refused({{"\xff", t}}), HasSubstr("UTF-8"));
  EXPECT_THAT(refused({{"a", t}}, {{"k", "\xff"}}), HasSubstr("UTF-8"));
  EXPECT_THAT(refused({{"a\n", t}}), HasSubstr("control character"));
  EXPECT_THAT(refused({{"a", t}}, {{"k", "\x1f"}}), HasSubstr("control character"));
  EXPECT_THAT(refused({{"a", t}}, {{"k", std::string(1, '\0')}}), HasSubstr("control character"));
  EXPECT_THAT(refused({{"a", counting(Shape(9, 1), DType::u8)}}), HasSubstr("more than 8 axes"));
  EXPECT_THAT(refused({{"a", Tensor()}}), HasSubstr("undefined"));
  EXPECT_TRUE(folder.files().empty()) << "nothing was begun";
}

TEST(SafetensorsWriter, ReplacesAFileThatIsStillMapped) {
  const TempFolder folder;
  write_safetensors(folder / "f", {{"a", counting({100}, DType::u8, 1)}});
  const Tensor old = SafetensorsFile::open(folder / "f").tensor("a");
  // The new file is made from views of the old one.
  write_safetensors(folder / "f", {{"a", old}, {"b", old.slice(0, 50, 60)}});
  EXPECT_EQ(bytes_of(old), bytes_of(counting({100}, DType::u8, 1)));
  EXPECT_EQ(bytes_of(SafetensorsFile::open(folder / "f").tensor("b")), bytes_of(old).substr(50, 10));
}

TEST(Safetensors, ReadersDuringReplacementsSeeWholeVersions) {
  const TempFolder folder;
  const auto version = [&](int v) { return NamedTensors{{"a", counting({64 + v}, DType::u8, v)}}; };
  write_sealed_safetensors(folder / "f", version(0));
  std::atomic<bool> done{false};
  std::atomic<int> torn{0};
  std::vector<std::thread> readers;
  for (int r = 0; r < 3; ++r) {
    readers.emplace_back([&] {
      while (!done) {
        try {
          const Tensor t = open_sealed_safetensors(folder / "f").tensor("a");
          const int v = static_cast<int>(t.numel()) - 64;
          if (bytes_of(t) != bytes_of(version(v)[0].second)) ++torn;
        } catch (const Error&) {
          ++torn;
        }
      }
    });
  }
  for (int v = 1; v < 200; ++v) write_sealed_safetensors(folder / "f", version(v));
  done = true;
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(torn, 0);
  EXPECT_THAT(folder.files(), ElementsAre("f"));
}

RC_GTEST_PROP(SafetensorsProperty, WhatIsWrittenIsRead, ()) {
  const TempFolder folder;
  NamedTensors tensors;
  Metadata metadata;
  const auto text = rc::gen::container<std::string>(rc::gen::inRange<char>(' ', '~'));
  for (int i = *rc::gen::inRange(0, 8); i > 0; --i) {
    std::string name = *text + std::to_string(i);
    std::replace_if(name.begin(), name.end(), [](char c) { return c == '/' || c == '\\'; }, '_');
    const auto shape = *rc::gen::resize(4, rc::gen::container<Shape>(rc::gen::inRange<std::int64_t>(0, 6)));
    const DType dtype = kAll[*rc::gen::inRange<std::size_t>(0, std::size(kAll))];
    tensors.emplace_back(name, counting(shape, dtype, *rc::gen::inRange(0, 256)));
  }
  for (int i = *rc::gen::inRange(0, 4); i > 0; --i) metadata[*text] = *text;

  write_sealed_safetensors(folder / "f", tensors, metadata);
  const auto file = open_sealed_safetensors(folder / "f");
  Metadata found = file.metadata();
  found.erase(kChecksumKey);
  metadata[kVersionKey] = version();
  RC_ASSERT(found == metadata);
  RC_ASSERT(file.tensors().size() == tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const Tensor read = file.tensor(name);
    RC_ASSERT(read.dtype() == tensor.dtype());
    RC_ASSERT(read.shape() == tensor.shape());
    RC_ASSERT(bytes_of(read) == bytes_of(tensor));
  }
}

RC_GTEST_PROP(SafetensorsProperty, AnyBytesEndInAValueOrAnError, ()) {
  // A plausible header whose characters were exchanged at random places.
  std::string bytes =
      file_of(R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
              R"("b":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}})",
              "12345678abc");
  for (int i = *rc::gen::inRange(0, 6); i > 0; --i) {
    bytes[*rc::gen::inRange<std::size_t>(0, bytes.size())] = *rc::gen::arbitrary<char>();
  }
  try {
    const auto file = parse(bytes);
    for (const auto& entry : file.tensors()) bytes_of(file.tensor(entry.first));
  } catch (const ArtifactError&) {
  }
}

TEST(Safetensors, ModelsInTheWild) {
  const std::filesystem::path file =
      std::string(VELOXQUANT_TEST_DATA) + "/models/probe-6m-llama/model.safetensors";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "no probe models beside the checkout";
  const auto model = SafetensorsFile::open(file);
  EXPECT_EQ(model.metadata().at("format"), "pt");
  EXPECT_EQ(model.tensors().at("model.embed_tokens.weight").shape, (Shape{8192, 256}));
  EXPECT_EQ(model.tensor("model.embed_tokens.weight").dtype(), DType::bf16);
}

}  // namespace
}  // namespace veloxquant::test
