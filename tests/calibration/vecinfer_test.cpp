// The method `vecinfer` on artifacts made by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <veloxquant/attention/arithmetic.hpp>
#include <veloxquant/cache/packed_kv_cache.hpp>
#include <veloxquant/core/error.hpp>
#include <veloxquant/transform/hadamard.hpp>

#include "calibration/cache_checks.hpp"
#include "calibration/product_training.hpp"
#include "calibration/samples.hpp"
#include "calibration/vecinfer_artifact.hpp"
#include "codebook/vector_scale.hpp"
#include "transform/smoothed.hpp"

namespace veloxquant {
namespace {

constexpr int kDim = 64, kHeads = 2, kTokens = 300, kTraining = 1500;

struct Calibrated {
  ArtifactStore store;
  std::vector<float> keys, values;  // [heads, tokens, dim], not those of the training
};

// One layer; every head has its own distribution, with an offset and channels of different sizes.
Calibrated calibrate() {
  Calibrated made;
  write_settings({.groups = {"m", 1, kHeads, kDim}, .seed = 5}, made.store);
  const auto rotation = std::make_shared<const HadamardTransform>(kDim, 5);
  for (const Role role : {Role::keys, Role::values}) {
    const bool keys = role == Role::keys;
    std::vector<float> mean, smooth;
    std::map<int, std::vector<float>> codebooks;
    for (std::uint32_t h = 0; h < kHeads; ++h) {
      std::vector<float> rows =
          testing::correlated_rows(kTraining + kTokens, kDim, 10 * h + (keys ? 1 : 2), 0.5f);
      std::vector<float>& held = keys ? made.keys : made.values;
      held.insert(held.end(), rows.begin() + kTraining * kDim, rows.end());
      rows.resize(kTraining * kDim);
      std::vector<float> own_mean(kDim), own_smooth(kDim), coded(rows.size());
      for (std::size_t i = 0; i < rows.size(); ++i) own_mean[i % kDim] += rows[i] / kTraining;
      for (std::size_t i = 0; i < rows.size(); ++i) {
        rows[i] -= own_mean[i % kDim];
        own_smooth[i % kDim] = std::max(own_smooth[i % kDim], std::sqrt(std::fabs(rows[i])));
      }
      mean.insert(mean.end(), own_mean.begin(), own_mean.end());
      smooth.insert(smooth.end(), own_smooth.begin(), own_smooth.end());
      if (keys) {
        SmoothedTransform(own_smooth, rotation).apply_rows(rows.data(), kTraining, coded.data());
      } else {
        rotation->apply_rows(rows.data(), kTraining, coded.data());
      }
      std::vector<double> scales(kTraining);
      to_unit_variance(coded.data(), kTraining, kDim, rows.data(), scales.data());
      for (const ProductShape& shape : kProductShapes) {
        const ProductCodebook trained =
            train_product(rows, {.bits = shape.index_bits, .dims = shape.dims, .rounds = 4, .seed = h});
        std::vector<float>& all = codebooks[shape.bits];
        all.insert(all.end(), trained.centroids.begin(), trained.centroids.end());
      }
    }
    const auto put = [&](const std::string& what, const std::vector<float>& data, Shape shape) {
      made.store.put(artifact_tensor(0, role, what), Tensor::copy_of<float>(data, std::move(shape)));
    };
    put("mean", mean, {kHeads, kDim});
    if (keys) put("smooth", smooth, {kHeads, kDim});
    for (const ProductShape& shape : kProductShapes) {
      put(codebook_name(shape), codebooks[shape.bits],
          {kHeads, std::int64_t{1} << shape.index_bits, shape.dims});
    }
  }
  return made;
}

// Training takes a second, and no test changes what it gave.
const Calibrated& calibrated() {
  static const Calibrated made = calibrate();
  return made;
}

std::shared_ptr<const ArtifactStore> artifacts() {
  return std::make_shared<const ArtifactStore>(calibrated().store);
}

std::shared_ptr<const KVCacheConfig> config_for(const std::string& keys, const std::string& values,
                                                std::int64_t sinks = 0) {
  KVCacheOptions options;
  options.kv_heads = kHeads;
  options.head_dim = kDim;
  options.keys = MethodSpec::parse(keys);
  options.values = MethodSpec::parse(values);
  options.sinks = sinks;
  options.model = "m";
  return std::make_shared<const KVCacheConfig>(options);
}

LayerMethods layer_of(const std::string& keys, const std::string& values,
                      std::shared_ptr<const ArtifactStore> store = artifacts()) {
  return make_layer_methods(*config_for(keys, values), std::move(store))[0];
}

Tensor as_tensor(const std::vector<float>& rows) {
  return Tensor::copy_of<float>(rows,
                                {1, kHeads, static_cast<std::int64_t>(rows.size()) / kHeads / kDim, kDim});
}

std::unique_ptr<PackedKVCache> filled(const std::string& keys, const std::string& values,
                                      std::int64_t sinks = 0) {
  auto caches = make_caches(config_for(keys, values, sinks), artifacts(), std::make_shared<ThreadPool>(1));
  caches[0]->append(as_tensor(calibrated().keys), as_tensor(calibrated().values));
  return std::move(caches[0]);
}

double relative_error(const Tensor& back, const std::vector<float>& rows) {
  const Tensor whole = back.contiguous();
  double error = 0, energy = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto x = static_cast<double>(rows[i]), y = static_cast<double>(whole.data<const float>()[i]);
    error += (x - y) * (x - y);
    energy += x * x;
  }
  return error / energy;
}

TEST(VecInfer, ErrorFallsWithTheBits) {
  double last = 1;
  for (const char* method : {"vecinfer:1:scale=one", "vecinfer:2:scale=one", "vecinfer:3:scale=one"}) {
    const auto [keys, values] = filled(method, method)->state();
    const double error =
        std::max(relative_error(keys, calibrated().keys), relative_error(values, calibrated().values));
    EXPECT_LT(error, 0.5 * last) << method;
    last = error;
  }
}

TEST(VecInfer, StoresIndicesAndAScale) {
  for (const int bits : {1, 2, 3}) {
    const std::string method = "vecinfer:" + std::to_string(bits);
    const LayerMethods layer = layer_of(method, method);
    for (const auto& side : {layer.keys, layer.values}) {
      EXPECT_EQ(side->code_bytes(1), static_cast<std::size_t>(bits * kDim / 8));
      EXPECT_EQ(side->scale_bytes(1), 2u);
      EXPECT_DOUBLE_EQ(side->bits_per_element(), bits + 16.0 / kDim);
    }
    EXPECT_EQ(layer.keys->kv_heads(), kHeads);
  }
}

// Inner products are right in the space of the codes, that of the keys over the factors.
TEST(VecInfer, UnbiasedScalesDoNotShrinkInnerProducts) {
  const auto& x = calibrated().keys;
  for (const int bits : {1, 2}) {
    const auto kept = [&](const char* scale) {
      const std::string method = "vecinfer:" + std::to_string(bits) + ":scale=" + scale;
      const Tensor back = filled(method, method)->state().first.contiguous();
      const Tensor means = calibrated().store.get("layers.0.keys.mean", "test");
      const Tensor factors = calibrated().store.get("layers.0.keys.smooth", "test");
      double product = 0, energy = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const std::size_t channel = i / (kTokens * kDim) * kDim + i % kDim;
        const double mean = static_cast<double>(means.data<const float>()[channel]),
                     factor = static_cast<double>(factors.data<const float>()[channel]);
        const double was = (static_cast<double>(x[i]) - mean) / factor,
                     is = (static_cast<double>(back.data<const float>()[i]) - mean) / factor;
        product += was * is;
        energy += was * was;
      }
      return product / energy;
    };
    EXPECT_LT(kept("one"), 0.99);
    EXPECT_GT(kept("unbiased"), kept("matched"));
    EXPECT_GT(kept("matched"), kept("one"));
    EXPECT_NEAR(kept("unbiased"), 1, 1e-3);
  }
}

TEST(VecInfer, PiecesOfAnySizeGiveTheSameCache) {
  const auto whole = filled("vecinfer:3", "vecinfer:2");
  auto pieces =
      make_caches(config_for("vecinfer:3", "vecinfer:2"), artifacts(), std::make_shared<ThreadPool>(2));
  const Tensor keys = as_tensor(calibrated().keys), values = as_tensor(calibrated().values);
  for (std::int64_t at = 0, step = 1; at < kTokens;
       at += step, step = std::min<std::int64_t>(3 * step, kTokens - at))
    pieces[0]->append(keys.slice(2, at, at + step), values.slice(2, at, at + step));
  EXPECT_TRUE(testing::same_history(*whole, *pieces[0]));
}

// Look-ups of transformed queries, against the decoded history; pages in part filled, sinks, several query tokens.
TEST(VecInfer, AttendsOnItsCodesAsOnTheDecodedHistory) {
  const AttentionArithmetic before = attention_arithmetic();
  for (const AttentionArithmetic arithmetic : {AttentionArithmetic::precise, AttentionArithmetic::fast}) {
    set_attention_arithmetic(arithmetic);
    for (const char* keys : {"vecinfer:1", "vecinfer:2", "vecinfer:3"}) {
      for (const char* values : {"vecinfer:2", "fp16", "turboquant_mse:4"}) {
        for (const std::int64_t sinks : {0, 4}) {
          const auto cache = filled(keys, values, sinks);
          for (const std::int64_t fresh : {1, 5, 40}) {
            const std::vector<float> rows =
                testing::correlated_rows(4 * static_cast<std::size_t>(fresh), kDim, 7, 0);
            const Tensor queries = Tensor::copy_of<float>(rows, {1, 4, fresh, kDim});
            const bool exact = arithmetic == AttentionArithmetic::precise || values[0] != 't';
            EXPECT_LT(testing::attention_error(*cache, queries), exact ? 1e-4 : 2e-2)
                << keys << " " << values << " " << sinks << " " << fresh;
          }
        }
      }
    }
  }
  set_attention_arithmetic(before);
}

TEST(VecInfer, SaysHowAttentionReadsIt) {
  EXPECT_EQ(attention_path(layer_of("vecinfer:2", "fp16"), kHeads), "packed kernels");
  const std::string path = attention_path(layer_of("vecinfer:2", "vecinfer:2"), kHeads);
  EXPECT_TRUE(path.starts_with("decoded blocks: values (product 8 bit group 4)")) << path;
}

TEST(VecInfer, CachesAreSavedAndLoaded) {
  const auto cache = filled("vecinfer:3", "vecinfer:1", 4);
  const auto file = std::filesystem::temp_directory_path() / "veloxquant_vecinfer_test.safetensors";
  cache->save(file);
  auto loaded =
      make_caches(config_for("vecinfer:3", "vecinfer:1", 4), artifacts(), std::make_shared<ThreadPool>(1));
  loaded[0]->load(file);
  EXPECT_TRUE(testing::same_history(*cache, *loaded[0]));
  auto other_width =
      make_caches(config_for("vecinfer:2", "vecinfer:1", 4), artifacts(), std::make_shared<ThreadPool>(1));
  EXPECT_THROW(other_width[0]->load(file), Error);
  std::filesystem::remove(file);
}

TEST(VecInfer, RefusesWhatIsNotForItsModel) {
  EXPECT_THROW(layer_of("vecinfer:2", "vecinfer:2", nullptr), ArtifactError);
  for (const auto& [fact, value] :
       std::vector<std::pair<std::string, std::string>>{{"model", "another"},
                                                        {"method", "spectral"},
                                                        {"method_schema", "veloxquant.vecinfer/0"},
                                                        {"kv_heads", "3"},
                                                        {"head_dim", "128"},
                                                        {"layers", "0"},
                                                        {"layers", "many"},
                                                        {"seed", ""}}) {
    EXPECT_THROW(layer_of("vecinfer:2", "vecinfer:2", testing::with_fact(calibrated().store, fact, value)),
                 ArtifactError)
        << fact << " " << value;
  }
  EXPECT_THROW(layer_of("vecinfer:4", "vecinfer:2"), ConfigError);
  EXPECT_THROW(layer_of("vecinfer:2:seed=4", "vecinfer:2"), ConfigError);
}

TEST(VecInfer, RefusesTensorsThatAreDamaged) {
  for (const char* what : {"mean", "smooth", "codebook2"}) {
    const std::string name = artifact_tensor(0, Role::keys, what);
    for (const float bad : {NAN, INFINITY}) {
      EXPECT_THROW(layer_of("vecinfer:2", "fp16", testing::with_number(calibrated().store, name, 1, bad)),
                   ArtifactError)
          << what;
    }
    ArtifactStore store = calibrated().store;
    store.put(name, Tensor::zeros({kHeads, 3}, DType::f32));
    EXPECT_THROW(layer_of("vecinfer:2", "fp16", std::make_shared<const ArtifactStore>(store)), ArtifactError)
        << what;
  }
}

TEST(VecInfer, RefusesFactorsThatAreNone) {
  for (const float bad : {0.0f, -1.0f, 1e-30f}) {
    const auto store =
        testing::with_number(calibrated().store, artifact_tensor(0, Role::keys, "smooth"), 1, bad);
    EXPECT_THROW(layer_of("vecinfer:2", "fp16", store), ArtifactError) << bad;
  }
}

TEST(VecInfer, TablesAreCounted) {
  // Two heads of a table and a search of 256 centroids of 4; means and factors; the rotation.
  const std::size_t tables = 4 * 256 * (4 + 5), rows = 4 * kDim;
  EXPECT_EQ(layer_of("vecinfer:2", "vecinfer:2").keys->method_bytes(),
            kHeads * (tables + 3 * rows) + HadamardTransform(kDim, 5).nbytes());
}

}  // namespace
}  // namespace veloxquant
