// Damaged and foreign weights are refused by the tensor's name; the fingerprint sees every weight.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <veloxquant/core/error.hpp>
#include <veloxquant/io/safetensors.hpp>
#include <veloxquant/models/decoder.hpp>

#include "models/fixtures.hpp"

namespace veloxquant {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const std::filesystem::path kModel = testing::kTinyModels / "llama3_rope";

NamedTensors tensors_of(const std::filesystem::path& folder) {
  const SafetensorsFile file = SafetensorsFile::open(folder / "model.safetensors");
  NamedTensors tensors;
  for (const auto& [name, info] : file.tensors()) tensors.emplace_back(name, file.tensor(name).copy());
  return tensors;
}

void write_model(const std::filesystem::path& folder, const NamedTensors& tensors) {
  std::filesystem::copy_file(kModel / "config.json", folder / "config.json",
                             std::filesystem::copy_options::overwrite_existing);
  write_safetensors(folder / "model.safetensors", tensors);
}

std::string refusal(const NamedTensors& tensors) {
  const testing::TemporaryFolder folder;
  write_model(folder.path(), tensors);
  try {
    Decoder::load(folder.path());
  } catch (const ModelError& error) {
    return error.what();
  }
  return "accepted";
}

Tensor& named(NamedTensors& tensors, const std::string& name) {
  return std::find_if(tensors.begin(), tensors.end(), [&](const auto& t) { return t.first == name; })->second;
}

TEST(Weights, MissingTensorsAreNamed) {
  for (std::size_t i = 0; i < tensors_of(kModel).size(); ++i) {
    NamedTensors tensors = tensors_of(kModel);
    const std::string name = tensors[i].first;
    tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_THAT(refusal(tensors), AllOf(HasSubstr(name), HasSubstr("is missing")));
  }
}

TEST(Weights, WrongShapesAndTypesAreNamed) {
  NamedTensors tensors = tensors_of(kModel);
  Tensor& query = named(tensors, "model.layers.1.self_attn.q_proj.weight");
  query = query.reshape({query.dim(1), query.dim(0)});
  EXPECT_THAT(refusal(tensors), AllOf(HasSubstr("model.layers.1.self_attn.q_proj.weight"),
                                      HasSubstr("[24, 64]"), HasSubstr("[64, 24]")));
  tensors = tensors_of(kModel);
  named(tensors, "model.norm.weight") = Tensor::zeros({24}, DType::i8);
  EXPECT_THAT(refusal(tensors), AllOf(HasSubstr("model.norm.weight"), HasSubstr("i8")));
}

TEST(Weights, TensorsThatTheModelDoesNotUseAreLeftAlone) {
  NamedTensors tensors = tensors_of(kModel);
  tensors.emplace_back("model.layers.0.self_attn.rotary_emb.inv_freq", Tensor::zeros({8}, DType::f32));
  EXPECT_EQ(refusal(tensors), "accepted");
}

TEST(Weights, FingerprintSeesWeightsAndConfigButNotSharding) {
  const std::string original = Decoder::load(kModel).fingerprint();
  EXPECT_EQ(original.size(), 32u);
  EXPECT_EQ(Decoder::load(kModel, {Arithmetic::fp32, 2}).fingerprint(), original);

  const testing::TemporaryFolder folder;
  NamedTensors tensors = tensors_of(kModel);
  const auto half = static_cast<std::ptrdiff_t>(tensors.size() / 2);
  std::filesystem::copy_file(kModel / "config.json", folder.path() / "config.json");
  write_safetensors(folder.path() / "a.safetensors", {tensors.begin(), tensors.begin() + half});
  write_safetensors(folder.path() / "b.safetensors", {tensors.begin() + half, tensors.end()});
  nlohmann::json index;
  for (std::ptrdiff_t i = 0; i < std::ssize(tensors); ++i) {
    index["weight_map"][tensors[static_cast<std::size_t>(i)].first] =
        i < half ? "a.safetensors" : "b.safetensors";
  }
  std::ofstream(folder.path() / "model.safetensors.index.json") << index.dump();
  EXPECT_EQ(Decoder::load(folder.path()).fingerprint(), original);

  named(tensors, "model.layers.1.mlp.up_proj.weight").data<bf16>()[17].bits ^= 1;
  const testing::TemporaryFolder changed;
  write_model(changed.path(), tensors);
  EXPECT_NE(Decoder::load(changed.path()).fingerprint(), original);

  write_model(changed.path(), tensors_of(kModel));
  EXPECT_EQ(Decoder::load(changed.path()).fingerprint(), original);
  nlohmann::json config = nlohmann::json::parse(testing::text_of(kModel / "config.json"));
  config["rope_theta"] = 20000.0;
  std::ofstream(changed.path() / "config.json") << config.dump();
  EXPECT_NE(Decoder::load(changed.path()).fingerprint(), original);
}

}  // namespace
}  // namespace veloxquant
