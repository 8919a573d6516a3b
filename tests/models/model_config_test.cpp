// config.json: what is read from it, and that every field out of its range is refused by name and value.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <veloxquant/core/error.hpp>
#include <veloxquant/models/model_config.hpp>

#include "models/fixtures.hpp"

namespace veloxquant {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

json llama() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"hidden_size", 256},
          {"intermediate_size", 704},
          {"num_hidden_layers", 3},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"vocab_size", 8192},
          {"max_position_embeddings", 4096},
          {"rms_norm_eps", 1e-6}};
}

json family(const char* name) {
  json config = llama();
  config["architectures"] = {name};
  config["head_dim"] = 64;
  return config;
}

json llama3_scaling() {
  return {{"rope_type", "llama3"},
          {"factor", 8.0},
          {"low_freq_factor", 1.0},
          {"high_freq_factor", 4.0},
          {"original_max_position_embeddings", 8192}};
}

ModelConfig read(const json& config) { return ModelConfig::parse(config.dump()); }

std::string refusal(const std::string& text) {
  try {
    ModelConfig::parse(text);
  } catch (const ModelError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(ModelConfig, ReadsTheDemoModel) {
  const ModelConfig c = ModelConfig::load(testing::kDemoModel);
  EXPECT_EQ(c.family, ModelFamily::llama);
  EXPECT_EQ(c.hidden, 256);
  EXPECT_EQ(c.intermediate, 704);
  EXPECT_EQ(c.layers, 6);
  EXPECT_EQ(c.heads, 4);
  EXPECT_EQ(c.kv_heads, 2);
  EXPECT_EQ(c.head_dim, 64);
  EXPECT_EQ(c.vocab, 8192);
  EXPECT_EQ(c.max_position, 4096);
  EXPECT_EQ(c.rms_norm_eps, 1e-6);
  EXPECT_EQ(c.rope.theta, 100000.0);
  EXPECT_EQ(c.rope.rotary_dim, 64);
  EXPECT_EQ(c.rope.pairing, RopeConfig::Pairing::half_split);
  EXPECT_EQ(c.rope.scaling, RopeConfig::Scaling::none);
  EXPECT_TRUE(c.tie_word_embeddings);
  EXPECT_FALSE(c.qkv_bias || c.output_bias || c.mlp_bias || c.qk_norm);
  EXPECT_EQ(c.bos, 0u);
  EXPECT_THAT(c.eos, ElementsAre(1u));
  EXPECT_EQ(c.windows, std::vector<std::int64_t>(6, 0));
}

TEST(ModelConfig, DefaultsAreThoseOfTransformers) {
  json config = llama();
  config.erase("num_key_value_heads");
  const ModelConfig c = read(config);
  EXPECT_EQ(c.kv_heads, 4);
  EXPECT_EQ(c.head_dim, 64);
  EXPECT_EQ(c.rope.theta, 10000.0);
  EXPECT_FALSE(c.tie_word_embeddings);
  EXPECT_FALSE(c.bos.has_value());
  EXPECT_TRUE(c.eos.empty());
}

TEST(ModelConfig, FamiliesDifferInBiasesAndNorms) {
  json config = family("LlamaForCausalLM");
  config["attention_bias"] = config["mlp_bias"] = true;
  ModelConfig c = read(config);
  EXPECT_TRUE(c.qkv_bias && c.output_bias && c.mlp_bias);
  c = read(family("Qwen2ForCausalLM"));
  EXPECT_TRUE(c.qkv_bias);
  EXPECT_FALSE(c.output_bias || c.qk_norm);
  c = read(family("Qwen3ForCausalLM"));
  EXPECT_TRUE(c.qk_norm);
  EXPECT_FALSE(c.qkv_bias);
}

TEST(ModelConfig, SlidingWindows) {
  json mistral = family("MistralForCausalLM");
  EXPECT_THAT(read(mistral).windows, ElementsAre(4096, 4096, 4096));
  mistral["sliding_window"] = nullptr;
  EXPECT_THAT(read(mistral).windows, ElementsAre(0, 0, 0));
  mistral["sliding_window"] = 7;
  EXPECT_THAT(read(mistral).windows, ElementsAre(7, 7, 7));

  json qwen = family("Qwen2ForCausalLM");
  qwen["sliding_window"] = 9;
  qwen["max_window_layers"] = 2;
  EXPECT_THAT(read(qwen).windows, ElementsAre(0, 0, 0));
  qwen["use_sliding_window"] = true;
  EXPECT_THAT(read(qwen).windows, ElementsAre(0, 0, 9));
  qwen["max_window_layers"] = 28;
  EXPECT_THAT(read(qwen).windows, ElementsAre(0, 0, 0));
  qwen["layer_types"] = {"sliding_attention", "full_attention", "sliding_attention"};
  EXPECT_THAT(read(qwen).windows, ElementsAre(9, 0, 9));
}

TEST(ModelConfig, RotaryScalingUnderBothNames) {
  json old_style = llama();
  old_style["rope_theta"] = 500000.0;
  old_style["rope_scaling"] = llama3_scaling();
  const RopeConfig rope = read(old_style).rope;
  EXPECT_EQ(rope.theta, 500000.0);
  EXPECT_EQ(rope.scaling, RopeConfig::Scaling::llama3);
  EXPECT_EQ(rope.factor, 8.0);
  EXPECT_EQ(rope.low_freq_factor, 1.0);
  EXPECT_EQ(rope.high_freq_factor, 4.0);
  EXPECT_EQ(rope.original_max_position, 8192);

  json new_style = llama();
  new_style["rope_parameters"] = llama3_scaling();
  new_style["rope_parameters"]["rope_theta"] = 500000.0;
  EXPECT_EQ(read(new_style).rope, rope);

  json linear = llama();
  linear["rope_scaling"] = {{"type", "linear"}, {"factor", 2}};
  EXPECT_EQ(read(linear).rope.scaling, RopeConfig::Scaling::linear);
  EXPECT_EQ(read(linear).rope.factor, 2.0);
  linear["rope_scaling"] = nullptr;
  EXPECT_EQ(read(linear).rope.scaling, RopeConfig::Scaling::none);
  linear["rope_scaling"] = {{"rope_type", "default"}};
  EXPECT_EQ(read(linear).rope.scaling, RopeConfig::Scaling::none);
}

struct Refused {
  const char* field;
  json value;
  const char* said;
};

TEST(ModelConfig, RefusesFieldsByNameAndValue) {
  const Refused cases[] = {
      {"architectures", {"GemmaForCausalLM"}, "[\"GemmaForCausalLM\"]; served are LlamaForCausalLM"},
      {"architectures", json::array(), "[]"},
      {"architectures", "LlamaForCausalLM", "a list of texts"},
      {"hidden_size", 0, "0; it must be a whole number from 1 to 1048576"},
      {"hidden_size", -256, "-256"},
      {"hidden_size", 256.5, "256.5"},
      {"hidden_size", "256", "\"256\""},
      {"hidden_size", 258, "num_attention_heads (4)"},
      {"hidden_size", 4, "an even head size"},
      {"intermediate_size", 1e30, "1e+30"},
      {"num_hidden_layers", 1000000, "1000000"},
      {"num_hidden_layers", std::uint64_t{18446744073709551615u}, "18446744073709551615"},
      {"num_attention_heads", 0, "0"},
      {"num_key_value_heads", 3, "3; it must divide num_attention_heads (4)"},
      {"num_key_value_heads", 0, "0"},
      {"head_dim", 63, "63; it must be even"},
      {"head_dim", 1 << 20, "1048576"},
      {"vocab_size", -1, "-1"},
      {"max_position_embeddings", 0, "0"},
      {"rms_norm_eps", 0, "0; it must be a number above 0"},
      {"rms_norm_eps", -1e-6, "-1e-06"},
      {"rms_norm_eps", "small", "\"small\""},
      {"rope_theta", 0.5, "0.5; it must be at least 1"},
      {"rope_theta", -10000.0, "-10000.0"},
      {"tie_word_embeddings", 1, "1; it must be true or false"},
      {"hidden_act", "gelu", "\"gelu\"; only silu"},
      {"partial_rotary_factor", 0.5, "0.5; only whole heads"},
      {"bos_token_id", {0, 1}, "[0,1]; it must be one token"},
      {"eos_token_id", 8192, "8192; it must be a whole number from 0 to 8191"},
      {"eos_token_id", {1, -1}, "[1,-1]"},
      {"layer_types",
       {"full_attention", "full_attention", "full_attention"},
       "the same attention on all layers"},
      {"quantization_config", {{"quant_method", "gptq"}}, "gptq"},
      {"rope_scaling",
       {{"rope_type", "yarn"}, {"factor", 4.0}},
       "\"yarn\"; served are default, linear and llama3"},
      {"rope_scaling", {{"type", "dynamic"}, {"factor", 4.0}}, "\"dynamic\""},
      {"rope_parameters", {{"rope_type", "longrope"}}, "\"longrope\""},
      {"rope_scaling", {{"type", "linear"}}, "rope_scaling.factor is missing"},
      {"rope_scaling", {{"type", "linear"}, {"factor", 0.5}}, "0.5; it must be at least 1"},
      {"rope_scaling", {{"type", 3}}, "rope_scaling.type is 3; it must be a text"},
      {"rope_scaling", 2.0, "2.0; it must be an object"},
      {"rope_parameters",
       {{"full_attention", {{"rope_type", "default"}}}},
       "one rotary embedding for all layers"},
      {"rope_parameters", {{"partial_rotary_factor", 0.25}}, "rope_parameters.partial_rotary_factor is 0.25"},
  };
  for (const Refused& c : cases) {
    json config = llama();
    config[c.field] = c.value;
    EXPECT_THAT(refusal(config.dump()),
                AllOf(HasSubstr("[load model] config.json: "), HasSubstr(c.field), HasSubstr(c.said)))
        << c.field;
  }
}

TEST(ModelConfig, RefusesMissingFields) {
  for (const char* field : {"architectures", "hidden_size", "intermediate_size", "num_hidden_layers",
                            "num_attention_heads", "vocab_size", "max_position_embeddings", "rms_norm_eps"}) {
    json config = llama();
    config.erase(field);
    EXPECT_THAT(refusal(config.dump()), HasSubstr(std::string(field) + " is missing"));
    config[field] = nullptr;
    EXPECT_THAT(refusal(config.dump()), HasSubstr(std::string(field) + " is missing"));
  }
  json qwen = family("Qwen3ForCausalLM");
  qwen.erase("head_dim");
  EXPECT_THAT(refusal(qwen.dump()), HasSubstr("head_dim is missing"));
  json mistral = family("MistralForCausalLM");
  mistral.erase("num_key_value_heads");
  EXPECT_THAT(refusal(mistral.dump()), HasSubstr("num_key_value_heads is missing"));
}

TEST(ModelConfig, RefusesContradictions) {
  json both = llama();
  both["rope_scaling"] = llama3_scaling();
  both["rope_parameters"] = llama3_scaling();
  EXPECT_THAT(refusal(both.dump()), HasSubstr("rope_parameters is there too"));

  json order = llama();
  order["rope_scaling"] = llama3_scaling();
  order["rope_scaling"]["high_freq_factor"] = 1.0;
  EXPECT_THAT(refusal(order.dump()), HasSubstr("above low_freq_factor (1)"));

  json qwen = family("Qwen3ForCausalLM");
  qwen["layer_types"] = {"full_attention", "sliding_attention", "full_attention"};
  EXPECT_THAT(refusal(qwen.dump()), HasSubstr("needs use_sliding_window"));
  qwen["layer_types"] = {"full_attention"};
  EXPECT_THAT(refusal(qwen.dump()), HasSubstr("every one of the 3 layers"));
  qwen["layer_types"] = {"full_attention", "linear_attention", "full_attention"};
  EXPECT_THAT(refusal(qwen.dump()), HasSubstr("served are full_attention and sliding_attention"));
}

TEST(ModelConfig, RefusesWhatIsNotOneJsonObject) {
  EXPECT_THAT(refusal(""), HasSubstr("config.json is not JSON"));
  EXPECT_THAT(refusal("[1, 2]"), HasSubstr("must be a JSON object"));
  EXPECT_THAT(refusal("{\"hidden_size\": 1, \"hidden_size\": 2}"), HasSubstr("names 'hidden_size' twice"));
  EXPECT_THAT(refusal("{\"a\": " + std::string(100000, '[')), HasSubstr("nests deeper than 32 levels"));
  EXPECT_THAT(refusal("{\"vocab_size\": 1e999}"), HasSubstr("not JSON"));
  const std::string whole = llama().dump();
  for (std::size_t cut = 0; cut < whole.size(); ++cut)
    EXPECT_NE(refusal(whole.substr(0, cut)), "accepted") << cut;
  EXPECT_THROW(ModelConfig::load(testing::kSource / "no such folder"), IoError);
}

}  // namespace
}  // namespace veloxquant
