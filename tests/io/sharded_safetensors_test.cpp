#include <veloxquant/io/sharded_safetensors.hpp>

#include "io/fixtures.hpp"

namespace veloxquant::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kIndex = "model.safetensors.index.json";

class Sharded : public testing::Test {
 protected:
  void SetUp() override {
    write_safetensors(folder_ / "one.safetensors", {{"a", counting({4}, DType::f32, 1)}});
    write_safetensors(folder_ / "two.safetensors",
                      {{"b", counting({2}, DType::u8, 2)}, {"c", counting({}, DType::f64, 3)}});
  }

  void index(const std::string& text) const { put(folder_ / kIndex, text); }
  void map(const std::string& entries) const { index(R"({"weight_map":{)" + entries + "}}"); }
  std::string model_error() const {
    return error_of<ModelError>([&] { ShardedSafetensors::open(folder_.path()); });
  }

  const TempFolder folder_;
};

constexpr const char* kEntries = R"("a":"one.safetensors","b":"two.safetensors","c":"two.safetensors")";

TEST_F(Sharded, OpensShards) {
  index(R"({"metadata":{"total_size":26,"deep":[[{"x":null}]]},"weight_map":{)" + std::string(kEntries) +
        "}}");
  const auto model = ShardedSafetensors::open(folder_.path());
  EXPECT_THAT(model.names(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(model.shards().size(), 2u);
  EXPECT_TRUE(model.contains("c"));
  EXPECT_FALSE(model.contains("d"));
  EXPECT_EQ(model.info("c").dtype, DType::f64);
  EXPECT_EQ(bytes_of(model.tensor("b")), "\2\3");
  EXPECT_THAT(error_of<ModelError>([&] { model.tensor("d"); }), HasSubstr("no tensor 'd' among its 3"));
  EXPECT_THAT(error_of<ModelError>([&] { model.info("d"); }), HasSubstr("no tensor 'd'"));
}

TEST_F(Sharded, OneFileIsPreferredToShards) {
  map(kEntries);
  std::filesystem::copy(folder_ / "one.safetensors", folder_ / "model.safetensors");
  EXPECT_THAT(ShardedSafetensors::open(folder_.path()).names(), ElementsAre("a"));
}

TEST_F(Sharded, LinksToShardsAreFollowed) {
  map(R"("a":"link.safetensors")");
  std::filesystem::create_symlink("one.safetensors", folder_ / "link.safetensors");
  EXPECT_THAT(ShardedSafetensors::open(folder_.path()).names(), ElementsAre("a"));
}

TEST_F(Sharded, AFolderWithoutWeightsIsRefused) {
  EXPECT_THAT(model_error(), HasSubstr("has neither model.safetensors nor model.safetensors.index.json"));
  EXPECT_THAT(error_of<ModelError>([&] { ShardedSafetensors::open(folder_ / "none"); }), HasSubstr("/none'"));
}

TEST_F(Sharded, AMissingShardIsRefused) {
  map(std::string(kEntries) + R"(,"d":"three.safetensors")");
  EXPECT_THAT(model_error(), HasSubstr("lacks the shard 'three.safetensors'"));
}

TEST_F(Sharded, ATensorThatItsShardLacksIsRefused) {
  map(std::string(kEntries) + R"(,"d":"two.safetensors")");
  EXPECT_THAT(model_error(), HasSubstr("places tensor 'd' in the shard 'two.safetensors', which lacks it"));
}

TEST_F(Sharded, ATensorInTwoShardsIsRefused) {
  write_safetensors(folder_ / "two.safetensors",
                    {{"a", counting({2}, DType::u8)}, {"b", counting({2}, DType::u8)}});
  map(R"("a":"one.safetensors","b":"two.safetensors")");
  EXPECT_THAT(model_error(), HasSubstr("tensor 'a' is in two shards"));
  map(R"("a":"one.safetensors","a":"two.safetensors")");
  EXPECT_THAT(model_error(), HasSubstr("tensor 'a' occurs twice"));
}

TEST_F(Sharded, PathsAreRefused) {
  const std::string inside = (folder_ / "one.safetensors").string();
  for (const std::string& path :
       {std::string("../one.safetensors"), std::string(".."), std::string("."), std::string(), inside,
        std::string("./one.safetensors"), std::string("x/../one.safetensors"), std::string("x\\\\y"),
        std::string("one.safetensors\\u0000"), std::string(256, 'x')}) {
    map(R"("a":")" + path + '"');
    EXPECT_THAT(model_error(), HasSubstr("is not the plain name of a file")) << path;
  }
}

TEST_F(Sharded, LinkLoopsAreRefused) {
  map(R"("a":"loop.safetensors")");
  std::filesystem::create_symlink("pool.safetensors", folder_ / "loop.safetensors");
  std::filesystem::create_symlink("loop.safetensors", folder_ / "pool.safetensors");
  EXPECT_THAT(error_of<IoError>([&] { ShardedSafetensors::open(folder_.path()); }),
              HasSubstr("symbolic links"));
}

TEST_F(Sharded, ADamagedShardIsNamed) {
  map(kEntries);
  put(folder_ / "two.safetensors", get(folder_ / "two.safetensors").substr(0, 100));
  EXPECT_THAT(error_of<ArtifactError>([&] { ShardedSafetensors::open(folder_.path()); }),
              HasSubstr("two.safetensors"));
}

TEST_F(Sharded, MalformedIndexesAreRefused) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "is not JSON"},
      {"{", "is not JSON"},
      {R"({"weight_map":{)" + std::string(kEntries), "is not JSON"},
      {"[]", "an array where an object"},
      {"7", "the number 7 where an object"},
      {"null", "null where an object"},
      {"{}", "has no weight_map"},
      {R"({"weight_map":{}})", "names no tensors"},
      {R"({"weight_map":[]})", "weight_map: found an array"},
      {R"({"weight_map":"x"})", "weight_map: found a string"},
      {R"({"weight_map":{"a":1}})", "tensor 'a': found the number 1"},
      {R"({"weight_map":{"a":null}})", "tensor 'a': found null"},
      {R"({"weight_map":{"a":{}}})", "tensor 'a': found an object"},
      {R"({"weight_map":{"a":["one.safetensors"]}})", "tensor 'a': found an array"},
      {R"({"weight_map":{"a":"one.safetensors"},"weight_map":{}})", "key 'weight_map' occurs twice"},
      {R"({"metadata":)" + std::string(100'000, '[') + "}", "nesting deeper than 16"},
      {std::string(R"({"weight_map":{"a":"one.safetensors"}})") + '\0', "a NUL byte"},
      {R"({"weight_map":{"a":"one.safetensors"}} x)", "is not JSON"},
      {"\xef\xbb\xbf{}", "byte order mark"}};
  for (const auto& [text, reason] : cases) {
    index(text);
    EXPECT_THAT(model_error(), HasSubstr(reason)) << text.substr(0, 100);
  }
}

TEST_F(Sharded, LimitsHold) {
  map(kEntries);
  const auto refused = [&](const SafetensorsLimits& limits) {
    return error_of<ModelError>([&] { ShardedSafetensors::open(folder_.path(), limits); });
  };
  EXPECT_THAT(refused({.max_tensors = 2}), HasSubstr("more than 2 tensors"));
  EXPECT_THAT(refused({.max_shards = 1}), HasSubstr("more than 1 shards"));
  EXPECT_THAT(error_of<IoError>([&] { ShardedSafetensors::open(folder_.path(), {.max_header_bytes = 20}); }),
              HasSubstr("the limit is 20"));
}

TEST_F(Sharded, EveryTruncationOfTheIndexIsRefused) {
  const std::string whole = R"({"metadata":{},"weight_map":{)" + std::string(kEntries) + "}}";
  for (std::size_t size = 0; size < whole.size(); ++size) {
    index(whole.substr(0, size));
    model_error();
  }
}

TEST(ShardedModels, InTheWild) {
  const std::filesystem::path folder = std::string(VELOXQUANT_TEST_DATA) + "/models/probe-32m-llama";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no probe models beside the checkout";
  const auto model = ShardedSafetensors::open(folder);
  EXPECT_EQ(model.shards().size(), 5u);
  std::size_t bytes = 0;
  for (const std::string& name : model.names()) bytes += model.tensor(name).nbytes();
  EXPECT_EQ(bytes, 63980544u) << "the index's total_size";
}

}  // namespace
}  // namespace veloxquant::test
