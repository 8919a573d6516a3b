// Calibration of `ratequant` on the demo model, against the definitions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/benchmark.hpp>
#include <veloxquant/eval/divergence.hpp>
#include <veloxquant/eval/forecast.hpp>
#include <veloxquant/eval/precompute.hpp>

#include "calibration/ratequant_artifact.hpp"
#include "eval/calibration_fixtures.hpp"
#include "eval/passes.hpp"

namespace veloxquant {
namespace {

using ::testing::HasSubstr;

constexpr std::int64_t kSinks = 4;

class RatequantCalibration : public ::testing::Test {
 protected:
  Decoder decoder_ = Decoder::load(testing::kDemoModel, {.arithmetic = Arithmetic::fp32});

  CalibrationRequest request(std::int64_t tokens) const {
    CalibrationRequest request = testing::request_for(decoder_, tokens, 1);
    request.sinks = kSinks;
    return request;
  }
  float value(const ArtifactStore& store, int layer, Role role, const char* what, std::int64_t index) const {
    return store.get(artifact_tensor(layer, role, what), "test").data<const float>()[index];
  }
};

// Relative squared error on normal vectors, which after a rotation all vectors resemble.
double error_on_noise(const std::string& method, int bits, int dim) {
  constexpr std::int64_t kRows = 2000;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  Tensor x = Tensor::empty({1, 1, kRows, dim}, DType::f32);
  for (float& v : x.span<float>()) v = normal(random);
  const auto quantizer = QuantizerFactory::create(method, {.bits = bits, .head_dim = dim});
  const Tensor back = quantizer->decode(quantizer->encode(x)).contiguous();
  double error = 0, energy = 0;
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const auto is = static_cast<double>(x.data<const float>()[i]);
    error += std::pow(is - static_cast<double>(back.data<const float>()[i]), 2);
    energy += is * is;
  }
  return error / energy;
}

TEST_F(RatequantCalibration, MeasuresTheDistortionThatRotatedCodesHaveOnAnything) {
  const ArtifactStore store =
      precompute_ratequant(decoder_, request(400), {.sensitivity = Sensitivity::proxy});
  for (int width = 1; width <= 4; ++width) {
    const double expected = error_on_noise("turboquant_mse", width, 64);
    for (int layer = 0; layer < 6; ++layer) {
      for (const Role role : {Role::keys, Role::values}) {
        for (std::int64_t head = 0; head < 2; ++head) {
          const double lost = value(store, layer, role, "distortion", head * 4 + width - 1);
          EXPECT_NEAR(lost, expected, 0.15 * expected) << layer << to_string(role) << head << " " << width;
        }
      }
    }
  }
}

// The formula of GroupStatistics::proxy(), from its own pass.
TEST_F(RatequantCalibration, ProxyFollowsItsDefinition) {
  const CalibrationRequest r = request(120);
  const ArtifactStore store = precompute_ratequant(decoder_, r, {.sensitivity = Sensitivity::proxy});
  const auto square = [](const float* row, std::int64_t count) {
    double sum = 0;
    for (std::int64_t i = 0; i < count; ++i) sum += std::pow(static_cast<double>(row[i]), 2);
    return sum;
  };
  observe_window(decoder_, r.windows[0], [&](int layer, const LayerActivations& a) {
    const std::int64_t tokens = a.keys.dim(2), dim = 64, hidden = 256;
    const Tensor projection = decoder_.output_projection(layer);
    for (std::int64_t head = 0; head < 2; ++head) {
      double key_square = 0, value_square = 0;
      std::vector<double> mean(static_cast<std::size_t>(dim));
      const auto counted = static_cast<double>(tokens - kSinks);
      for (std::int64_t t = kSinks; t < tokens; ++t) {
        key_square += square(a.keys.data<const float>() + (head * tokens + t) * dim, dim) / counted;
        const float* v = a.values.data<const float>() + (head * tokens + t) * dim;
        value_square += square(v, dim) / counted;
        for (std::int64_t c = 0; c < dim; ++c)
          mean[static_cast<std::size_t>(c)] += static_cast<double>(v[c]) / counted;
      }
      double spread = value_square;
      for (const double m : mean) spread -= m * m;
      double of_keys = 0, of_values = 0;
      for (const std::int64_t q : {2 * head, 2 * head + 1}) {
        double weights = 0, query_square = 0;
        for (std::int64_t row = 0; row < hidden; ++row)
          weights += square(projection.data<const float>() + row * hidden + q * dim, dim) / dim;
        for (std::int64_t t = kSinks; t < tokens; ++t)
          query_square += square(a.queries.data<const float>() + (q * tokens + t) * dim, dim) / counted;
        of_keys += weights * query_square;
        of_values += weights;
      }
      double stream =
          square(a.input.data<const float>(), a.input.numel()) / static_cast<double>(a.input.dim(0));
      const Tensor outputs = a.attention.contiguous();
      for (std::int64_t q = 0; q < 4; ++q) {
        double weights = 0;
        for (std::int64_t row = 0; row < hidden; ++row)
          weights += square(projection.data<const float>() + row * hidden + q * dim, dim) / dim;
        for (std::int64_t t = kSinks; t < tokens; ++t)
          stream += weights * square(outputs.data<const float>() + (q * tokens + t) * dim, dim) / counted;
      }
      of_keys *= key_square / static_cast<double>(dim * dim) * spread / stream;
      of_values *= value_square / stream;
      EXPECT_NEAR(value(store, layer, Role::keys, "proxy", head), of_keys, 1e-4 * of_keys);
      EXPECT_NEAR(value(store, layer, Role::values, "proxy", head), of_values, 1e-4 * of_values);
    }
  });
}

// A probe of a head edits the model's own keys or values; a cache codes them. Errors of the heads of a layer add up.
TEST_F(RatequantCalibration, WeightsAreWhatACacheLoses) {
  const CalibrationRequest r = request(256);
  const ArtifactStore store = precompute_ratequant(decoder_, r, {.widths = {1, 2, 3}});
  EXPECT_EQ(store.facts().at("probe_bits"), "2");
  for (const int layer : {0, 3, 5}) {
    for (const Role role : {Role::keys, Role::values}) {
      double forecast = 0;
      for (std::int64_t head = 0; head < 2; ++head)
        forecast += static_cast<double>(value(store, layer, role, "weight", head)) *
                    static_cast<double>(value(store, layer, role, "distortion", head * 3 + 1));
      KVCacheOptions options = cache_options(decoder_.config());
      options.sinks = kSinks;
      options.keys = options.values = MethodSpec::parse("fp32");
      auto& change = options.layer_overrides[layer];
      (role == Role::keys ? change.keys : change.values) = MethodSpec::parse("turboquant_mse:2");
      const auto caches = make_caches(std::make_shared<const KVCacheConfig>(options), {}, decoder_.pool());
      const Tensor measured = decoder_.forward(r.windows[0], caches),
                   exact = decoder_.forward(r.windows[0], exact_caches(decoder_, 6));
      const std::size_t rows = r.windows[0].size() - 1, vocab = 8192;
      std::vector<RowDivergence> divergence(rows);
      compare_rows(exact.data<const float>(), measured.data<const float>(), rows, vocab, &r.windows[0][1],
                   *decoder_.pool(), divergence.data());
      double kl = 0;
      for (const RowDivergence& row : divergence) kl += row.kl / static_cast<double>(rows);
      EXPECT_GT(forecast, 0.7 * kl) << layer << to_string(role);
      EXPECT_LT(forecast, 1.4 * kl) << layer << to_string(role);
    }
  }
}

TEST_F(RatequantCalibration, ForecastsFallWithTheBudgetAndAreThoseOfTheAllocation) {
  const ArtifactStore store = precompute_ratequant(decoder_, request(128), {.widths = {2, 3, 4}});
  const auto curve = forecast_curve(store);
  ASSERT_EQ(curve.size(), 8u);
  EXPECT_EQ(curve.front().first, 2.25) << "two bits and a scale of f16 for 64 coordinates";
  EXPECT_EQ(curve.back().first, 4);
  for (std::size_t i = 1; i < curve.size(); ++i) EXPECT_LT(curve[i].second, curve[i - 1].second);
  double narrowest = 0;
  for (int layer = 0; layer < 6; ++layer) {
    for (const Role role : {Role::keys, Role::values}) {
      for (std::int64_t head = 0; head < 2; ++head)
        narrowest += static_cast<double>(value(store, layer, role, "weight", head)) *
                     static_cast<double>(value(store, layer, role, "distortion", head * 3));
    }
  }
  EXPECT_NEAR(curve.front().second, narrowest, 1e-9 * narrowest);
  const MethodSpec spec = MethodSpec::parse("ratequant:3"), other = MethodSpec::parse("ratequant:2.5");
  EXPECT_DOUBLE_EQ(forecast_kl(store, spec, spec).value(), curve[3].second);
  EXPECT_EQ(forecast_kl(store, spec, other), std::nullopt);
  EXPECT_EQ(forecast_kl(store, MethodSpec::parse("spectral:3"), MethodSpec::parse("spectral:3")),
            std::nullopt);
  // By the proxy it is worse, or as good, in the measure of the measured weights.
  const MethodSpec proxy = MethodSpec::parse("ratequant:3:sensitivity=proxy");
  EXPECT_GE(forecast_kl(store, proxy, proxy).value(), curve[3].second);
}

// What `inspect` shows: the artifacts' own budget, by group.
TEST_F(RatequantCalibration, SaysHowItsBudgetIsSpread) {
  CalibrationRequest r = request(128);
  r.target_bits = 2.5;
  const auto store =
      std::make_shared<const ArtifactStore>(precompute_ratequant(decoder_, r, {.widths = {1, 2, 3, 4}}));
  const BudgetSpread spread = budget_spread(*store).value();
  EXPECT_EQ(spread.target_bits, 2.5);
  const MethodSpec spec = MethodSpec::parse("ratequant:2.5");
  EXPECT_DOUBLE_EQ(spread.kl.value(), forecast_kl(*store, spec, spec).value());
  KVCacheOptions options = cache_options(decoder_.config());
  options.keys = options.values = MethodSpec::parse("ratequant");
  const auto layers = make_layer_methods(KVCacheConfig(options), store);
  ASSERT_EQ(spread.bits.size(), 24u);
  double sum = 0;
  for (int layer = 0; layer < 6; ++layer) {
    for (const Role role : {Role::keys, Role::values}) {
      const LayerMethods& made = layers[static_cast<std::size_t>(layer)];
      const VectorQuantizer& method = role == Role::keys ? *made.keys : *made.values;
      for (int head = 0; head < 2; ++head) {
        const double bits =
            spread.bits[static_cast<std::size_t>((layer * 2 + (role == Role::values)) * 2 + head)];
        EXPECT_DOUBLE_EQ(bits, static_cast<double>(method.code_bytes(head) + method.scale_bytes(head)) / 8);
        sum += bits / 24;
      }
    }
  }
  EXPECT_DOUBLE_EQ(spread.bits_per_element, sum);
  ArtifactStore narrow = *store;
  narrow.set_fact("target_bits", "1");
  EXPECT_FALSE(budget_spread(narrow)) << "a bit and a scale are more";
}

TEST_F(RatequantCalibration, ServesAnyBaseMethodAndAnyWidths) {
  for (const auto& [base, widths] :
       {std::pair<std::string, std::vector<int>>{"trellis", {1, 4}}, {"affine:group=32", {2, 4, 8}}}) {
    const auto store = std::make_shared<const ArtifactStore>(precompute_ratequant(
        decoder_, request(80), {.base = base, .widths = widths, .sensitivity = Sensitivity::proxy}));
    KVCacheOptions options = cache_options(decoder_.config());
    options.keys = options.values = MethodSpec::parse("ratequant:4");
    const auto layers = make_layer_methods(KVCacheConfig(options), store);
    double bits = 0;
    for (const LayerMethods& layer : layers)
      bits += (layer.keys->bits_per_element() + layer.values->bits_per_element()) / 12;
    EXPECT_LE(bits, 4) << base;
    EXPECT_GT(bits, 3.8) << base;
    EXPECT_TRUE(forecast_curve(*store).empty()) << "a proxy is in no unit";
  }
}

TEST_F(RatequantCalibration, RefusesWhatHasNoMeaning) {
  const CalibrationRequest r = request(64);
  const auto expect_refused = [&](const RatequantOptions& options, const char* what) {
    try {
      precompute_ratequant(decoder_, r, options);
      ADD_FAILURE() << what;
    } catch (const ConfigError& e) {
      EXPECT_THAT(e.what(), HasSubstr(what));
    }
  };
  expect_refused({.widths = {2}}, "it takes two to 16");
  expect_refused({.widths = {3, 2}}, "ascending");
  expect_refused({.widths = {2, 2}}, "ascending");
  expect_refused({.widths = {2, 9}}, "no width of 9");
  expect_refused({.base = "spectral"}, "no base method");
  expect_refused({.base = "ratequant"}, "no base method");
  expect_refused({.base = "trellis:2"}, "written with a width");
  expect_refused({.base = "fp16"}, "no width of 1");
  expect_refused({.base = "nothing"}, "unknown method");
  expect_refused({.sensitivity = Sensitivity::none}, "nothing to weigh");
  expect_refused({.sensitivity_windows = 0}, "0 windows");
}

}  // namespace
}  // namespace veloxquant
