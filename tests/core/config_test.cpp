#include <gtest/gtest.h>

#include <cmath>
#include <veloxquant/core/config.hpp>
#include <veloxquant/core/error.hpp>
#include <veloxquant/core/registry.hpp>

namespace veloxquant {
namespace {

KVCacheOptions plain() {
  KVCacheOptions o;
  o.layers = 4;
  o.kv_heads = 2;
  o.head_dim = 64;
  return o;
}

TEST(Config, JsonIsInverse) {
  KVCacheOptions o = plain();
  o.keys = MethodSpec::parse("trellis:3:scale=matched:seed=7");
  o.values = MethodSpec::parse("affine:4:group=32");
  o.layer_overrides[3].values = MethodSpec::parse("q8_0");
  o.sinks = 4;
  o.recent = 128;
  o.model = "abc";
  o.rope = RopeConfig{.theta = 5e5, .rotary_dim = 64, .scaling = RopeConfig::Scaling::llama3, .factor = 8};
  const KVCacheConfig config(o);
  const std::string json = config.to_json();
  const KVCacheConfig back = KVCacheConfig::from_json(json);
  EXPECT_EQ(back.to_json(), json);
  EXPECT_EQ(back.method(3, Role::values).method, "q8_0");
  EXPECT_EQ(back.method(2, Role::values).options.group, 32);
  EXPECT_EQ(back.method(2, Role::keys).options.scale, ScaleMode::matched);
  EXPECT_EQ(back.options().rope, o.rope);
}

TEST(Config, MethodTextIsInverse) {
  for (const char* text : {"trellis:2", "q4_0:4:transform=hadamard", "turboquant_mse:3:scale=one:seed=9",
                           "affine:8:group=128"}) {
    EXPECT_EQ(MethodSpec::parse(text).to_string(), text);
  }
  EXPECT_EQ(MethodSpec::parse("q8_0").options.bits, 8);
  EXPECT_EQ(MethodSpec::parse("trellis").options.bits, 4);
  for (const char* text :
       {"trellis:x", "trellis:2:3", "nothing:2", "", "trellis:2:scale=loud", "trellis:2:centre=1"}) {
    EXPECT_THROW(MethodSpec::parse(text), ConfigError) << text;
  }
}

template <class Change>
void expect_refused(Change change, const std::string& value) {
  KVCacheOptions o = plain();
  change(o);
  try {
    const KVCacheConfig config(o);
    ADD_FAILURE() << "accepted " << value;
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find(value), std::string::npos) << e.what();
  }
}

TEST(Config, RefusesWhatHasNoMeaning) {
  expect_refused([](auto& o) { o.layers = 0; }, "0");
  expect_refused([](auto& o) { o.head_dim = 63; }, "63");
  expect_refused([](auto& o) { o.kv_heads = -2; }, "-2");
  expect_refused([](auto& o) { o.sinks = -1; }, "-1");
  expect_refused([](auto& o) { o.keys.method = "turbo"; }, "turbo");
  expect_refused([](auto& o) { o.keys.options.bits = 9; }, "9");
  expect_refused([](auto& o) { o.layer_overrides[4] = {}; }, "4");
  expect_refused([](auto& o) { o.rope = RopeConfig{.rotary_dim = 65}; }, "65");
  expect_refused([](auto& o) { o.rope = RopeConfig{.theta = std::nan(""), .rotary_dim = 64}; }, "nan");
}

TEST(Config, RefusesStrangeJson) {
  for (const char* text :
       {"", "[]", "{\"layers\": 1.5}", "{\"kv_heads\": 2, \"head_dim\": 64, \"colour\": 1}",
        "{\"kv_heads\": 2, \"head_dim\": 64, \"keys\": {\"method\": 3}}",
        "{\"kv_heads\": 2, \"head_dim\": 64, \"layer_overrides\": {\"x\": {}}}",
        "{\"kv_heads\": 99999999999, \"head_dim\": 64}"}) {
    EXPECT_THROW(KVCacheConfig::from_json(text), ConfigError) << text;
  }
}

// A config in a file may come from anyone: it takes no stack for its nesting, and messages stay short.
TEST(Config, HostileJsonIsRefusedInAShortMessage) {
  const auto message = [](const std::string& text) -> std::string {
    try {
      KVCacheConfig::from_json(text);
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "accepted";
  };
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_NE(message("{\"keys\": " + nested(200'000) + "}").find("nests deeper than 32"), std::string::npos);
  EXPECT_NE(message(nested(200'000)).find("nests deeper than 32"), std::string::npos);
  EXPECT_NE(message(R"({"kv_heads": 2, "kv_heads": 4, "head_dim": 64})").find("names 'kv_heads' twice"),
            std::string::npos);
  const std::string big(1'000'000, 'x');
  for (const std::string& text :
       {big, "{\"" + big + "\": 1}", "{\"layers\": \"" + big + "\"}", "{\"keys\": \"" + big + "\"}",
        "{\"keys\": {\"method\": \"" + big + "\"}}", "{\"keys\": {\"scale\": \"" + big + "\"}}",
        "{\"keys\": {\"extra\": \"" + big + "\"}}", "{\"keys\": {\"extra\": {\"" + big + "\": 1}}}",
        "{\"layer_overrides\": {\"" + big + "\": {}}}", "{\"model\": \"" + big + "\x01\"}"}) {
    EXPECT_NE(message(text), "accepted");
    EXPECT_LT(message(text).size(), 500u) << text.substr(0, 40);
  }
}

TEST(Config, PresetsAreMethodsByName) {
  for (const Preset& preset : presets()) {
    const MethodSpec spec = MethodSpec::parse(preset.name);
    EXPECT_EQ(spec.to_string(), preset.method);
    EXPECT_FALSE(QuantizerRegistry::contains(preset.name));
    EXPECT_THROW(MethodSpec::parse(std::string(preset.name) + ":2"),
                 ConfigError);  // it has no width of its own
    EXPECT_THROW(QuantizerRegistry::add(preset.name, [](const QuantizerOptions&) { return nullptr; }),
                 ConfigError);
  }
}

TEST(Config, AnOptionGivenTwiceIsRefused) {
  for (const char* text :
       {"trellis:2:seed=1:seed=2", "trellis:2:scale=one:scale=one", "spectral:2:target_bits=3"}) {
    EXPECT_THROW(MethodSpec::parse(text), ConfigError) << text;
  }
}

TEST(Rope, FrequenciesFollowTheDefinition) {
  const RopeConfig rope{.theta = 10000, .rotary_dim = 64};
  const auto f = rope.inverse_frequencies();
  ASSERT_EQ(f.size(), 32u);
  for (std::size_t i = 0; i < f.size(); ++i)
    EXPECT_NEAR(f[i], std::pow(10000.0, -2.0 * static_cast<double>(i) / 64), 1e-6 * f[i]);
}

TEST(Rope, Llama3ScalingKeepsShortAndStretchesLongWavelengths) {
  RopeConfig rope{.theta = 500000, .rotary_dim = 128};
  const auto before = rope.inverse_frequencies();
  rope.scaling = RopeConfig::Scaling::llama3;
  rope.factor = 8;
  const auto after = rope.inverse_frequencies();
  for (std::size_t i = 0; i < before.size(); ++i) {
    const double wavelength = 2 * M_PI / before[i];
    const double ratio = before[i] / after[i];
    if (wavelength < 8192 / 4.0)
      EXPECT_FLOAT_EQ(static_cast<float>(ratio), 1) << i;
    else if (wavelength > 8192)
      EXPECT_FLOAT_EQ(static_cast<float>(ratio), 8) << i;
    else
      EXPECT_TRUE(ratio > 1 && ratio < 8) << i << " " << ratio;
  }
}

}  // namespace
}  // namespace veloxquant
