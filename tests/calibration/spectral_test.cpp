// The method `spectral` on artifacts made by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <veloxquant/attention/arithmetic.hpp>
#include <veloxquant/cache/packed_kv_cache.hpp>
#include <veloxquant/calibration/moments.hpp>
#include <veloxquant/core/error.hpp>

#include "calibration/cache_checks.hpp"
#include "calibration/samples.hpp"
#include "calibration/spectral_artifact.hpp"
#include "calibration/spectral_fit.hpp"
#include "cpu_levels.hpp"
#include "transform/rope_turn.hpp"

namespace veloxquant {
namespace {

constexpr int kDim = 32, kHeads = 2, kTokens = 300;

RopeConfig rope() {
  RopeConfig config;
  config.rotary_dim = kDim;
  return config;
}

// One layer; every group has its own spectrum, weight and mean. Metric: identity.
struct Calibrated {
  std::shared_ptr<const ArtifactStore> store;
  std::vector<float> keys, values;  // [heads, tokens, dim], keys after RoPE
};

std::vector<double> identity() {
  std::vector<double> matrix(kDim * kDim);
  for (std::size_t c = 0; c < kDim; ++c) matrix[c * (kDim + 1)] = 1;
  return matrix;
}

Calibrated calibrate(std::int64_t frame, float offset, const std::string& model = "m") {
  const RopeTurn turn(rope(), kDim);
  Calibrated made;
  ArtifactStore store;
  write_settings({.model = model,
                  .layers = 1,
                  .kv_heads = kHeads,
                  .head_dim = kDim,
                  .frame = frame,
                  .code = RunCode::trellis,
                  .gain = true,
                  .target_bits = 3,
                  .rope = to_string(rope())},
                 store);
  for (const Role role : {Role::keys, Role::values}) {
    std::vector<float> mean, basis, inverse, lambda;
    for (std::uint32_t h = 0; h < kHeads; ++h) {
      std::vector<float> rows =
          testing::correlated_rows(kTokens, kDim, 10 * h + (role == Role::keys ? 1 : 2), offset);
      Moments moments(kDim);
      moments.add(rows.data(), kTokens);
      auto covariance = moments.covariance();
      if (role == Role::keys) covariance = turn.average(covariance, frame == 0 ? kTokens : frame);
      const SpectralFit fit = fit_spectral(covariance, identity(), kDim);
      mean.insert(mean.end(), moments.mean().begin(), moments.mean().end());
      basis.insert(basis.end(), fit.forward.begin(), fit.forward.end());
      inverse.insert(inverse.end(), fit.inverse.begin(), fit.inverse.end());
      lambda.insert(lambda.end(), fit.lambda.begin(), fit.lambda.end());
      for (std::int64_t t = 0; role == Role::keys && t < kTokens; ++t) {
        turn.forwards(turn.angles(t), rows.data() + t * kDim, rows.data() + t * kDim);
      }
      auto& all = role == Role::keys ? made.keys : made.values;
      all.insert(all.end(), rows.begin(), rows.end());
    }
    const auto put = [&](const char* what, const std::vector<float>& data, Shape shape) {
      store.put(spectral_tensor(0, role, what), Tensor::copy_of<float>(data, std::move(shape)));
    };
    put("mean", mean, {kHeads, kDim});
    put("basis", basis, {kHeads, kDim, kDim});
    put("inverse", inverse, {kHeads, kDim, kDim});
    put("lambda", lambda, {kHeads, kDim});
    put("weight", {1.0f, 4.0f}, {kHeads});
  }
  made.store = std::make_shared<const ArtifactStore>(std::move(store));
  return made;
}

std::shared_ptr<const KVCacheConfig> config_for(const std::string& keys, const std::string& values,
                                                std::int64_t sinks = 0) {
  KVCacheOptions options;
  options.kv_heads = kHeads;
  options.head_dim = kDim;
  options.keys = MethodSpec::parse(keys);
  options.values = MethodSpec::parse(values);
  options.sinks = sinks;
  options.rope = rope();
  options.model = "m";
  return std::make_shared<const KVCacheConfig>(options);
}

// Relative squared error of what a cache gives back, around the mean of the rows.
double cache_error(const Tensor& back, const std::vector<float>& rows) {
  const Tensor whole = back.contiguous();
  double error = 0, energy = 0;
  Moments moments(kDim);
  moments.add(rows.data(), rows.size() / kDim);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto x = static_cast<double>(rows[i]), y = static_cast<double>(whole.data<const float>()[i]);
    error += (x - y) * (x - y);
    energy += (x - moments.mean()[i % kDim]) * (x - moments.mean()[i % kDim]);
  }
  return error / energy;
}

std::pair<double, double> errors(const Calibrated& made, const std::string& method, std::int64_t pieces = 1) {
  const auto caches = make_caches(config_for(method, method), made.store, std::make_shared<ThreadPool>(1));
  const Tensor keys = Tensor::copy_of<float>(made.keys, {1, kHeads, kTokens, kDim});
  const Tensor values = Tensor::copy_of<float>(made.values, {1, kHeads, kTokens, kDim});
  for (std::int64_t i = 0; i < pieces; ++i) {
    const std::int64_t from = kTokens * i / pieces, to = kTokens * (i + 1) / pieces;
    caches[0]->append(keys.slice(2, from, to), values.slice(2, from, to));
  }
  const auto [k, v] = caches[0]->state();
  return {cache_error(k, made.keys), cache_error(v, made.values)};
}

TEST(Spectral, ErrorFallsWithTheBudgetForEveryFrame) {
  for (const std::int64_t frame : {0, 1, 16, 64}) {
    const Calibrated made = calibrate(frame, 0);
    double last = 1;
    for (const char* method : {"spectral:1", "spectral:2", "spectral:3", "spectral:4.5"}) {
      const auto [keys, values] = errors(made, method);
      EXPECT_LT(keys + values, last) << frame << " " << method;
      last = keys + values;
    }
    EXPECT_LT(last, 0.05) << frame;
  }
}

TEST(Spectral, AConstantOffsetCostsNothing) {
  for (const std::int64_t frame : {1, 64}) {
    const auto [keys, values] = errors(calibrate(frame, 0), "spectral:2");
    const auto [far_keys, far_values] = errors(calibrate(frame, 30), "spectral:2");
    EXPECT_NEAR(far_values, values, 0.1 * values + 1e-4);
    // The mean is taken out before the rotation; around the mean after it, energies differ.
    EXPECT_LT(far_keys, keys * 1.1 + 1e-4);
  }
}

TEST(Spectral, PiecesOfAnySizeGiveTheSameCache) {
  const Calibrated made = calibrate(64, 1);
  EXPECT_EQ(errors(made, "spectral:2"), errors(made, "spectral:2", 7));
}

// Through the basis and its frames, whatever their length and wherever the positions leave a gap.
TEST(Spectral, AttendsOnItsCodesAsOnTheDecodedHistory) {
  const AttentionArithmetic before = attention_arithmetic();
  for (const AttentionArithmetic arithmetic : {AttentionArithmetic::precise, AttentionArithmetic::fast}) {
    set_attention_arithmetic(arithmetic);
    for (const std::int64_t frame : {0, 1, 4, 7, 16, 64, 100}) {
      const Calibrated made = calibrate(frame, 0.5f);
      for (const char* values : {"spectral:2", "turboquant_mse:4"}) {
        // Far from the text's beginning, angles are the product of large numbers.
        for (const auto& [sinks, start] :
             {std::pair<std::int64_t, std::int64_t>{0, 0}, {4, 0}, {0, 1000001}}) {
          const auto caches = make_caches(config_for("spectral:2", values, sinks), made.store,
                                          std::make_shared<ThreadPool>(1));
          PackedKVCache& cache = *caches[0];
          const Tensor k = Tensor::copy_of<float>(made.keys, {1, kHeads, kTokens, kDim});
          const Tensor v = Tensor::copy_of<float>(made.values, {1, kHeads, kTokens, kDim});
          std::vector<std::int64_t> positions(kTokens);
          for (std::int64_t t = 0; t < kTokens; ++t)
            positions[static_cast<std::size_t>(t)] = start + t + (t >= 150 ? 23 : 0);
          cache.append(k, v, Tensor::copy_of<std::int64_t>(positions, {kTokens}));
          // One token and a few, fewer and more rows than a kernel takes; then with a block that holds
          // trimmed tokens.
          for (const std::int64_t fresh : {1, 5, 2}) {
            if (fresh == 2) cache.trim(kTokens - 60 - sinks);
            const std::vector<float> rows =
                testing::correlated_rows(4 * static_cast<std::size_t>(fresh), kDim, 7, 0);
            const Tensor queries = Tensor::copy_of<float>(rows, {1, 4, fresh, kDim});
            // Rounded operands: 1.2e-3 of the square, where the codes themselves lose some per cent of it.
            const double bound = arithmetic == AttentionArithmetic::precise ? 1e-4 : 3.5e-2;
            EXPECT_LT(testing::attention_error(cache, queries), bound)
                << frame << " " << values << " " << sinks << " " << start << " " << fresh;
          }
        }
      }
    }
  }
  set_attention_arithmetic(before);
}

// What the fast arithmetic adds to the error of the output, against what the codes lose.
TEST(Spectral, FastArithmeticLosesLittleBesideTheCodes) {
  const AttentionArithmetic before = attention_arithmetic();
  for (const std::int64_t frame : {1, 2, 8, 16, 64}) {
    const Calibrated made = calibrate(frame, 0.5f);
    const Tensor k = Tensor::copy_of<float>(made.keys, {1, kHeads, kTokens, kDim});
    const Tensor v = Tensor::copy_of<float>(made.values, {1, kHeads, kTokens, kDim});
    for (const char* method : {"spectral:1.5", "spectral:2", "spectral:3"}) {
      const auto caches =
          make_caches(config_for(method, method), made.store, std::make_shared<ThreadPool>(1));
      caches[0]->append(k, v);
      for (const float sharpness : {1.0f, 4.0f}) {
        std::vector<float> rows = testing::correlated_rows(8, kDim, 7, 0);
        for (float& x : rows) x *= sharpness;
        const Tensor queries = Tensor::copy_of<float>(rows, {1, 8, 1, kDim});
        const std::vector<double> exact = testing::attend_by_definition({k, v}, queries),
                                  coded = testing::attend_by_definition(caches[0]->state(), queries);
        double worst = 0;
        test::on_every_cpu_level([&](const std::string&) {
          set_attention_arithmetic(AttentionArithmetic::fast);
          const Tensor fast = caches[0]->attend(queries, 0, {}).contiguous();
          double added = 0, lost = 0;
          for (std::size_t i = 0; i < exact.size(); ++i) {
            added += std::pow(static_cast<double>(fast.data<const float>()[i]) - coded[i], 2);
            lost += std::pow(coded[i] - exact[i], 2);
          }
          worst = std::max(worst, added / lost);
        });
        EXPECT_LT(worst, 0.02) << frame << " " << method << " " << sharpness;
      }
    }
  }
  set_attention_arithmetic(before);
}

TEST(Spectral, SpendsTheBudgetOverAllGroupsAndNeverMore) {
  const Calibrated made = calibrate(64, 0);
  for (const double target : {1.0, 1.5, 2.0, 3.25}) {
    const std::string method = "spectral:" + std::to_string(target);
    const auto layers = make_layer_methods(*config_for(method, method), made.store);
    PackedKVCache cache(config_for(method, method), 0, layers[0]);
    cache.append(Tensor::zeros({1, kHeads, 7, kDim}, DType::f32),
                 Tensor::zeros({1, kHeads, 7, kDim}, DType::f32));
    EXPECT_EQ(cache.coded_bytes(), 7 * layers[0].token_bytes(kHeads));
    const double bits = 8.0 * static_cast<double>(layers[0].token_bytes(kHeads)) / (2 * kHeads * kDim);
    EXPECT_LE(bits, target);
    EXPECT_GT(bits, target - 0.2);  // 128 elements: a block of 16 is an eighth of a bit
  }
}

// A layer that the model does not miss may get no bits at all: all its tokens are their mean, and it holds nothing.
TEST(Spectral, ServesALayerWithoutBits) {
  const Calibrated made = calibrate(64, 0.5f);
  ArtifactStore store = *made.store;
  for (const Role role : {Role::keys, Role::values})
    store.put(spectral_tensor(0, role, "lambda"), Tensor::zeros({kHeads, kDim}, DType::f32));
  const auto caches =
      make_caches(config_for("spectral:0.125", "spectral:0.125"),
                  std::make_shared<const ArtifactStore>(std::move(store)), std::make_shared<ThreadPool>(1));
  PackedKVCache& cache = *caches[0];
  cache.append(Tensor::copy_of<float>(made.keys, {1, kHeads, kTokens, kDim}),
               Tensor::copy_of<float>(made.values, {1, kHeads, kTokens, kDim}));
  EXPECT_EQ(cache.coded_bytes(), 0u);
  const Tensor queries = Tensor::copy_of<float>(testing::correlated_rows(4, kDim, 7, 0), {1, 4, 1, kDim});
  EXPECT_LT(testing::attention_error(cache, queries), 1e-4);
  cache.trim(kTokens - 10);
  EXPECT_LT(testing::attention_error(cache, queries), 1e-4);
}

// Rows of KV head `head` coded and decoded by the method itself, as if they were the text's first.
std::vector<float> recoded(const VectorQuantizer& method, int head, const std::vector<float>& rows) {
  std::vector<TokenPlace> places;
  for (std::int64_t t = 0; t < kTokens; ++t) {
    const std::int64_t start = method.frame() > 0 ? t / method.frame() * method.frame() : 0;
    places.push_back({.position = t, .frame_start = start});
  }
  std::vector<std::uint8_t> codes(kTokens * method.code_bytes(head)),
      gains(kTokens * method.scale_bytes(head));
  std::vector<float> back(kTokens * kDim);
  method.encode_rows_at(rows.data(), places.data(), kTokens, head, codes.data(), gains.data());
  method.decode_rows_at(codes.data(), gains.data(), places.data(), kTokens, head, back.data());
  return back;
}

// A token's two gains are in one byte of the page, in pages that fill, that are full, that were copied for a clone,
// and that come from a file; and no gain is taken for the other.
TEST(Spectral, GainsThatShareAByteStayApart) {
  const auto file = std::filesystem::path(::testing::TempDir()) / "spectral_gains.safetensors";
  for (const std::int64_t frame : {0, 64}) {
    Calibrated made = calibrate(frame, 0.5f);
    // Energies that differ between tokens, and between keys and values.
    for (std::size_t i = 0; i < made.keys.size(); ++i) {
      made.keys[i] *= 1.0f + static_cast<float>(i / kDim % 5);
      made.values[i] *= 1.0f + static_cast<float>(i / kDim % 7);
    }
    const auto config = config_for("spectral:2", "spectral:2");
    const auto layer = make_layer_methods(*config, made.store)[0];
    const Tensor keys = Tensor::copy_of<float>(made.keys, {1, kHeads, kTokens, kDim});
    const Tensor values = Tensor::copy_of<float>(made.values, {1, kHeads, kTokens, kDim});
    const auto check = [&](const PackedKVCache& cache, const char* what) {
      const auto [k, v] = cache.state();
      for (int h = 0; h < kHeads; ++h) {
        ASSERT_TRUE(layer.keys->gain_scale(h) && layer.values->gain_scale(h));
        const std::size_t from = static_cast<std::size_t>(h) * kTokens * kDim;
        const auto part = [&](const std::vector<float>& all) {
          return std::vector<float>(all.begin() + static_cast<std::ptrdiff_t>(from),
                                    all.begin() + static_cast<std::ptrdiff_t>(from + kTokens * kDim));
        };
        const auto head = [&](const Tensor& x) { return testing::numbers_of(x.slice(1, h, h + 1)); };
        EXPECT_EQ(head(k), recoded(*layer.keys, h, part(made.keys))) << what << " " << frame;
        EXPECT_EQ(head(v), recoded(*layer.values, h, part(made.values))) << what << " " << frame;
      }
    };
    PackedKVCache cache(config, 0, layer);
    cache.append(keys.slice(2, 0, 30), values.slice(2, 0, 30));
    const auto clone = cache.clone();
    for (std::int64_t t = 30; t < kTokens; t = std::min<std::int64_t>(kTokens, t < 33 ? t + 1 : t + 100)) {
      const std::int64_t end = std::min<std::int64_t>(kTokens, t < 33 ? t + 1 : t + 100);
      cache.append(keys.slice(2, t, end), values.slice(2, t, end));
    }
    check(cache, "appended");
    clone->append(keys.slice(2, 30, kTokens), values.slice(2, 30, kTokens));
    check(dynamic_cast<const PackedKVCache&>(*clone), "cloned");
    cache.save(file);
    PackedKVCache loaded(config, 0, layer);
    loaded.load(file);
    check(loaded, "loaded");
    cache.trim(kTokens - 100);
    cache.append(keys.slice(2, 100, kTokens), values.slice(2, 100, kTokens));
    check(cache, "trimmed");
  }
}

TEST(Spectral, SaysWhatItLacks) {
  const Calibrated made = calibrate(64, 0);
  EXPECT_THROW(make_layer_methods(*config_for("spectral:2", "spectral:2")), ArtifactError);
  EXPECT_THROW(make_layer_methods(*config_for("spectral:99", "spectral:99"), made.store), ConfigError);
  EXPECT_THROW(make_layer_methods(*config_for("spectral:two", "spectral:two"), made.store), ConfigError);
  EXPECT_THROW(make_layer_methods(*config_for("spectral:2", "spectral:2"), calibrate(64, 0, "other").store),
               ArtifactError);
  EXPECT_THROW(make_layer_methods(*config_for("spectral:2", "spectral:2"),
                                  testing::with_fact(*made.store, "method", "vecinfer")),
               ArtifactError);
  for (const char* gain : {"True", "1", "", "false "}) {
    EXPECT_THROW(make_layer_methods(*config_for("spectral:2", "spectral:2"),
                                    testing::with_fact(*made.store, "gain", gain)),
                 ArtifactError)
        << gain;
  }
  KVCacheOptions turned = config_for("spectral:2", "spectral:2")->options();
  turned.model.clear();
  EXPECT_NO_THROW(make_layer_methods(KVCacheConfig(turned), made.store));
  turned.rope->theta = 123;
  EXPECT_THROW(make_layer_methods(KVCacheConfig(turned), made.store), ArtifactError);
}

TEST(Spectral, TakesTensorsOfItsOwnHeadsOnly) {
  const Calibrated made = calibrate(64, 0);
  const auto layer = make_layer_methods(*config_for("spectral:2", "spectral:2"), made.store)[0];
  EXPECT_EQ(layer.keys->kv_heads(), kHeads);
  const EncodedVector code = layer.keys->encode(Tensor::zeros({1, kHeads, 3, kDim}, DType::f32));
  EXPECT_DOUBLE_EQ(layer.keys->bits_per_element(),
                   8.0 * static_cast<double>(code.nbytes()) / (3 * kHeads * kDim));
  for (const std::int64_t heads : {1, kHeads + 1, 1000}) {
    if (heads == kHeads) continue;
    EXPECT_THROW(layer.keys->encode(Tensor::zeros({1, heads, 3, kDim}, DType::f32)), ShapeError) << heads;
    EncodedVector more = code;
    more.original_shape[1] = heads;
    EXPECT_THROW(layer.keys->decode(more), ShapeError) << heads;
  }
  KVCacheOptions other = config_for("spectral:2", "spectral:2")->options();
  other.kv_heads = kHeads + 1;
  EXPECT_THROW(PackedKVCache(std::make_shared<const KVCacheConfig>(other), 0, layer), ConfigError);
}

TEST(Spectral, RefusesArtifactsThatAreNoNumbers) {
  const Calibrated made = calibrate(64, 0);
  for (const char* what : {"mean", "basis", "inverse", "lambda", "weight"}) {
    for (const float bad : {NAN, INFINITY, 1e30f}) {
      const std::string name = spectral_tensor(0, Role::values, what);
      try {
        make_layer_methods(*config_for("spectral:2", "spectral:2"),
                           testing::with_number(*made.store, name, 1, bad));
        ADD_FAILURE() << what << " " << bad;
      } catch (const ArtifactError& e) {
        EXPECT_NE(std::string(e.what()).find("'" + name + "' holds"), std::string::npos) << e.what();
        EXPECT_NE(std::string(e.what()).find("index 1"), std::string::npos) << e.what();
      }
    }
  }
}

// As `inspect` does, without a model.
TEST(Spectral, ArtifactsAreCheckedAlone) {
  const Calibrated made = calibrate(64, 0);
  EXPECT_NO_THROW(check_spectral(*made.store));
  for (const char* what : {"mean", "basis", "inverse", "lambda"}) {
    const std::string name = spectral_tensor(0, Role::keys, what);
    EXPECT_THROW(check_spectral(*testing::with_number(*made.store, name, 1, INFINITY)), ArtifactError)
        << what;
  }
  for (const char* bits : {"0", "-1", "99", "nan", "two"})
    EXPECT_THROW(check_spectral(*testing::with_fact(*made.store, "target_bits", bits)), ArtifactError)
        << bits;
}

TEST(Spectral, SaysHowAttentionReadsIt) {
  const auto path = [](std::int64_t frame) {
    const auto config = config_for("spectral:3", "spectral:3");
    return attention_path(make_layer_methods(*config, calibrate(frame, 0).store)[0], kHeads);
  };
  EXPECT_TRUE(path(1).starts_with("decoded blocks: frames of 1 tokens are too short")) << path(1);
  EXPECT_TRUE(path(0).starts_with("decoded tiles: keys are not in a code")) << path(0);
  const AttentionArithmetic before = attention_arithmetic();
  set_attention_arithmetic(AttentionArithmetic::precise);
  EXPECT_TRUE(path(64).starts_with("decoded blocks: keys (mixed ")) << path(64);
  set_attention_arithmetic(before);
}

// Its means are of keys before RoPE, those that centre subtracts of keys as they are cached.
TEST(Spectral, LendsNoMeansToCentring) {
  const Calibrated made = calibrate(64, 0);
  EXPECT_THROW(make_layer_methods(*config_for("trellis:2:centre=true", "trellis:2"), made.store),
               ArtifactError);
}

TEST(Spectral, NameOfTheBudgetTravels) {
  EXPECT_EQ(MethodSpec::parse("spectral:1.5").to_string(), "spectral:1.5");
  EXPECT_EQ(MethodSpec::parse("spectral").to_string(), "spectral");
  const auto config = config_for("spectral:1.5", "spectral:1.5");
  EXPECT_EQ(KVCacheConfig::from_json(config->to_json()).options().keys.to_string(), "spectral:1.5");
}

}  // namespace
}  // namespace veloxquant
