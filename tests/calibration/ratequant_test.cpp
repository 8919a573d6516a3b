// The method `ratequant` on artifacts made by hand.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <veloxquant/attention/arithmetic.hpp>
#include <veloxquant/cache/packed_kv_cache.hpp>
#include <veloxquant/core/error.hpp>

#include "calibration/cache_checks.hpp"
#include "calibration/ratequant_artifact.hpp"
#include "calibration/samples.hpp"

namespace veloxquant {
namespace {

using ::testing::HasSubstr;

constexpr int kDim = 64, kHeads = 2, kLayers = 2, kTokens = 200;

const ModelGroups kGroups{"m", kLayers, kHeads, kDim};

struct Base {
  std::string text = "turboquant_mse";
  std::vector<int> widths = {1, 2, 3, 4};
};

std::int64_t vector_bits(const std::string& base, int width) {
  MethodSpec spec = base_method(base);
  spec.options.bits = width;
  spec.options.head_dim = kDim;
  return std::lround(QuantizerFactory::create(spec.method, spec.options)->bits_per_element() * kDim);
}

// Weights 1, 3, 9, ... in an order that mixes layers and roles; the proxy ranks them the other way round.
double weight_of(std::size_t group) { return std::pow(3.0, static_cast<double>(group * 5 % 8)); }

ArtifactStore artifacts(const Base& base = {}, bool measured = true) {
  RatequantSettings s;
  s.groups = kGroups;
  s.base = base.text;
  s.widths = base.widths;
  s.sensitivity = measured ? "measured" : "proxy";
  s.target_bits = base.widths.front() + 1.0;
  for (const int width : base.widths) s.vector_bits.push_back(vector_bits(base.text, width));
  ArtifactStore store;
  write_settings(s, store);
  for (int layer = 0; layer < kLayers; ++layer) {
    for (const Role role : {Role::keys, Role::values}) {
      std::vector<float> distortion, weight, proxy;
      for (int head = 0; head < kHeads; ++head) {
        const double w = weight_of(s.groups.index(layer, role, head));
        weight.push_back(static_cast<float>(w));
        proxy.push_back(static_cast<float>(1 / w));
        for (const int width : base.widths) distortion.push_back(static_cast<float>(std::pow(3.3, -width)));
      }
      const auto put = [&](const char* what, const std::vector<float>& data, Shape shape) {
        store.put(artifact_tensor(layer, role, what), Tensor::copy_of<float>(data, std::move(shape)));
      };
      put("distortion", distortion, {kHeads, std::ssize(base.widths)});
      if (measured) put("weight", weight, {kHeads});
      put("proxy", proxy, {kHeads});
    }
  }
  return store;
}

KVCacheOptions cache_options(const std::string& keys, const std::string& values) {
  KVCacheOptions options;
  options.layers = kLayers;
  options.kv_heads = kHeads;
  options.head_dim = kDim;
  options.keys = MethodSpec::parse(keys);
  options.values = MethodSpec::parse(values);
  options.model = "m";
  return options;
}

std::vector<LayerMethods> methods(const KVCacheOptions& options, const ArtifactStore& store) {
  return make_layer_methods(KVCacheConfig(options), std::make_shared<const ArtifactStore>(store));
}
std::vector<LayerMethods> methods(const std::string& both, const ArtifactStore& store) {
  return methods(cache_options(both, both), store);
}

std::vector<int> widths_of(const VectorQuantizer& method) {
  std::vector<int> widths;
  for (int head = 0; head < kHeads; ++head) widths.push_back(method.code_spec(head)->bits);
  return widths;
}

// The least sum of weight * distortion over all assignments of widths within the budget.
double best_by_search(const Base& base, std::int64_t budget) {
  std::vector<std::int64_t> bits;
  for (const int width : base.widths) bits.push_back(vector_bits(base.text, width));
  const std::function<double(std::size_t, std::int64_t)> best = [&](std::size_t g,
                                                                    std::int64_t left) -> double {
    if (g == kGroups.count()) return 0;
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t w = 0; w < bits.size() && bits[w] <= left; ++w)
      least = std::min(least, weight_of(g) * std::pow(3.3, -base.widths[w]) + best(g + 1, left - bits[w]));
    return least;
  };
  return best(0, budget);
}

TEST(Ratequant, SpendsTheBudgetAsBruteForceWould) {
  for (const Base& base : {Base{}, Base{"trellis", {1, 3}}, Base{"affine:group=32", {2, 3, 4}}}) {
    const ArtifactStore store = artifacts(base);
    const double least = static_cast<double>(vector_bits(base.text, base.widths.front())) / kDim;
    for (const double target : {least, least + 0.3, least + 0.77, least + 1.5}) {
      const auto layers = methods(fmt::format("ratequant:{}", target), store);
      std::int64_t bits = 0;
      double loss = 0;
      for (int layer = 0; layer < kLayers; ++layer) {
        for (const Role role : {Role::keys, Role::values}) {
          const LayerMethods& made = layers[static_cast<std::size_t>(layer)];
          const VectorQuantizer& method = role == Role::keys ? *made.keys : *made.values;
          for (int head = 0; head < kHeads; ++head) {
            bits += 8 * static_cast<std::int64_t>(method.code_bytes(head) + method.scale_bytes(head));
            loss +=
                weight_of(kGroups.index(layer, role, head)) * std::pow(3.3, -method.code_spec(head)->bits);
          }
        }
      }
      const auto budget = static_cast<std::int64_t>(target * kLayers * 2 * kHeads * kDim + 1e-6);
      EXPECT_LE(bits, budget);
      const double best = best_by_search(base, budget);
      EXPECT_NEAR(loss, best, 1e-6 * best) << base.text << " " << target;
    }
  }
}

// Its codes, kernels and decoded vectors are those of the base method at each head's width.
TEST(Ratequant, CodesEveryHeadAsTheBaseMethodWould) {
  const auto layers = methods("ratequant:2.3", artifacts());
  const VectorQuantizer& method = *layers[0].keys;
  const std::vector<int> widths = widths_of(method);
  ASSERT_NE(widths[0], widths[1]) << "the heads should differ here";
  const std::vector<float> rows = testing::correlated_rows(kHeads * kTokens, kDim, 3, 1);
  const Tensor x = Tensor::copy_of<float>(rows, {1, kHeads, kTokens, kDim});
  const Tensor back = method.decode(method.encode(x)).contiguous();
  for (int head = 0; head < kHeads; ++head) {
    const auto base = QuantizerFactory::create(
        "turboquant_mse", {.bits = widths[static_cast<std::size_t>(head)], .head_dim = kDim});
    const Tensor alone = x.slice(1, head, head + 1);
    const Tensor expected = base->decode(base->encode(alone)).contiguous(),
                 actual = back.slice(1, head, head + 1).contiguous();
    for (std::int64_t i = 0; i < expected.numel(); ++i)
      ASSERT_EQ(actual.data<const float>()[i], expected.data<const float>()[i]) << head << " " << i;
  }
  EXPECT_EQ(method.kv_heads(), kHeads);
  EXPECT_THROW(method.encode(Tensor::zeros({1, kHeads + 1, 2, kDim}, DType::f32)), ShapeError);
}

// Tokens one at a time go through encode_heads(), many at once through encode_rows().
TEST(Ratequant, PiecesOfAnySizeGiveTheSameCache) {
  const auto config = std::make_shared<const KVCacheConfig>(cache_options("ratequant:2.3", "ratequant:2.3"));
  const auto store = std::make_shared<const ArtifactStore>(artifacts());
  const std::vector<float> rows = testing::correlated_rows(kHeads * kTokens, kDim, 5, 1);
  const Tensor x = Tensor::copy_of<float>(rows, {1, kHeads, kTokens, kDim});
  std::vector<std::vector<float>> states;
  for (const std::int64_t piece : {std::int64_t{1}, std::int64_t{7}, std::int64_t{kTokens}}) {
    const auto caches = make_caches(config, store, std::make_shared<ThreadPool>(1));
    for (std::int64_t from = 0; from < kTokens; from += piece) {
      const std::int64_t to = std::min<std::int64_t>(kTokens, from + piece);
      caches[1]->append(x.slice(2, from, to), x.slice(2, from, to));
    }
    const auto [k, v] = caches[1]->state();
    auto& state = states.emplace_back(testing::numbers_of(k));
    const std::vector<float> values = testing::numbers_of(v);
    state.insert(state.end(), values.begin(), values.end());
  }
  EXPECT_EQ(states[0], states[1]);
  EXPECT_EQ(states[0], states[2]);
}

TEST(Ratequant, AttendsOnItsCodes) {
  const AttentionArithmetic before = attention_arithmetic();
  set_attention_arithmetic(AttentionArithmetic::precise);
  for (const char* base : {"turboquant_mse", "trellis"}) {
    const auto layers = methods("ratequant:2.3", artifacts({base}));
    EXPECT_EQ(layers[0].keys->basis(0), nullptr);
    EXPECT_NE(layers[0].keys->transform(0), nullptr);
    PackedKVCache cache(
        std::make_shared<const KVCacheConfig>(cache_options("ratequant:2.3", "ratequant:2.3")), 0, layers[0]);
    const std::vector<float> rows = testing::correlated_rows(kHeads * kTokens, kDim, 5, 1);
    const Tensor x = Tensor::copy_of<float>(rows, {1, kHeads, kTokens, kDim});
    cache.append(x, x);
    const std::vector<float> q = testing::correlated_rows(2 * kHeads, kDim, 9, 0);
    EXPECT_LT(testing::attention_error(cache, Tensor::copy_of<float>(q, {1, 2 * kHeads, 1, kDim})), 1e-5)
        << base;
  }
  set_attention_arithmetic(before);
}

// What has another method or another budget pays from a purse of its own.
TEST(Ratequant, SharesTheBudgetAmongThoseThatHaveIt) {
  const auto bits_of = [](const VectorQuantizer& method) { return method.bits_per_element(); };
  const auto mixed = methods(cache_options("ratequant:3.25", "fp16"), artifacts());
  EXPECT_DOUBLE_EQ((bits_of(*mixed[0].keys) + bits_of(*mixed[1].keys)) / 2, 3.25);
  const auto apart = methods(cache_options("ratequant:3.25", "ratequant:2.25"), artifacts());
  EXPECT_DOUBLE_EQ((bits_of(*apart[0].keys) + bits_of(*apart[1].keys)) / 2, 3.25);
  EXPECT_DOUBLE_EQ((bits_of(*apart[0].values) + bits_of(*apart[1].values)) / 2, 2.25);
  KVCacheOptions one = cache_options("ratequant:3.25", "ratequant:3.25");
  one.layer_overrides[0] = {MethodSpec::parse("fp16"), MethodSpec::parse("fp16")};
  const auto layers = methods(one, artifacts());
  EXPECT_DOUBLE_EQ((bits_of(*layers[1].keys) + bits_of(*layers[1].values)) / 2, 3.25);
}

TEST(Ratequant, WeighsByTheProxyWhenAsked) {
  const ArtifactStore store = artifacts();
  const auto measured = methods("ratequant:2.25", store),
             proxy = methods("ratequant:2.25:sensitivity=proxy", store);
  EXPECT_EQ(widths_of(*measured[0].keys),
            widths_of(*methods("ratequant:2.25:sensitivity=measured", store)[0].keys));
  EXPECT_NE(widths_of(*measured[0].keys), widths_of(*proxy[0].keys));
  EXPECT_EQ(widths_of(*methods("ratequant:2.25", artifacts({}, false))[0].keys), widths_of(*proxy[0].keys));
  EXPECT_THROW(methods("ratequant:2.25:sensitivity=measured", artifacts({}, false)), ArtifactError);
  EXPECT_THROW(methods("ratequant:2.25:sensitivity=guessed", store), ConfigError);
}

TEST(Ratequant, TakesTheArtifactsBudgetWhenNoneIsAsked) {
  const auto layers = methods("ratequant", artifacts());
  double bits = 0;
  for (const LayerMethods& layer : layers)
    bits += (layer.keys->bits_per_element() + layer.values->bits_per_element()) / (2 * kLayers);
  EXPECT_NEAR(bits, 2, 1.0 / (kLayers * 2 * kHeads));
}

TEST(Ratequant, RefusesBudgetsThatItsWidthsCannotMeet) {
  for (const char* method :
       {"ratequant:1.2", "ratequant:4.3", "ratequant:nan", "ratequant:inf", "ratequant:two"})
    EXPECT_THROW(methods(method, artifacts()), ConfigError) << method;
  EXPECT_NO_THROW(methods("ratequant:1.25", artifacts()));
  EXPECT_NO_THROW(methods("ratequant:4.25", artifacts()));
}

TEST(Ratequant, RefusesOtherModelsHeadsAndMethods) {
  const ArtifactStore good = artifacts();
  EXPECT_THROW(make_layer_methods(KVCacheConfig(cache_options("ratequant:2", "ratequant:2"))), ArtifactError);
  KVCacheOptions other = cache_options("ratequant:2", "ratequant:2");
  other.model = "another";
  EXPECT_THROW(methods(other, good), ArtifactError);
  other = cache_options("ratequant:2", "ratequant:2");
  other.kv_heads = kHeads + 1;
  EXPECT_THROW(methods(other, good), ArtifactError);
  other = cache_options("ratequant:2", "ratequant:2");
  other.layers = kLayers + 1;
  EXPECT_THROW(methods(other, good), ArtifactError);
  ArtifactStore foreign = good;
  foreign.set_fact("method", "spectral");
  EXPECT_THROW(methods("ratequant:2", foreign), ArtifactError);
}

TEST(Ratequant, RefusesDamagedArtifacts) {
  const auto expect_refused = [](const ArtifactStore& store, const std::string& what) {
    try {
      methods("ratequant:2", store);
      ADD_FAILURE() << what;
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), HasSubstr(what));
    }
  };
  for (const char* text : {"", "1,2,3", "1,2,4,3", "0,1,2,3", "1,2,3,4,", "1;2;3;4", "1,2,3,99999999999"}) {
    ArtifactStore store = artifacts();
    store.set_fact("widths", text);
    expect_refused(store, "widths");
  }
  ArtifactStore wide = artifacts();
  wide.set_fact("widths", "1,2,3,33");
  expect_refused(wide, "4 widths up to 33 bits; there are at most 16, up to 32");
  ArtifactStore many = artifacts();
  many.set_fact("widths", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17");
  expect_refused(many, "17 widths");
  ArtifactStore cheaper = artifacts();
  cheaper.set_fact("vector_bits", "80,144,208,264");
  expect_refused(cheaper, "264 bits for a vector");
  ArtifactStore nested = artifacts();
  nested.set_fact("base", "spectral");
  expect_refused(nested, "no base method");
  ArtifactStore written = artifacts();
  written.set_fact("base", "trellis:2");
  expect_refused(written, "written with a width");
  for (const char* what : {"distortion", "weight"}) {
    for (const float bad : {NAN, INFINITY, -1.0f}) {
      const std::string name = artifact_tensor(1, Role::values, what);
      expect_refused(*testing::with_number(artifacts(), name, 1, bad),
                     bad < 0 && !std::isinf(bad) ? "negative" : name);
    }
  }
}

TEST(Ratequant, NameOfTheBudgetTravels) {
  EXPECT_EQ(MethodSpec::parse("ratequant:2.5").to_string(), "ratequant:2.5");
  EXPECT_EQ(MethodSpec::parse("ratequant:2.5:sensitivity=proxy").to_string(),
            "ratequant:2.5:sensitivity=proxy");
  const KVCacheConfig config(cache_options("ratequant:2.5", "ratequant"));
  EXPECT_EQ(KVCacheConfig::from_json(config.to_json()).options().keys.to_string(), "ratequant:2.5");
}

}  // namespace
}  // namespace veloxquant
