#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>
#include <veloxquant/core/error.hpp>

#include "../../cli/benchmark_methods.hpp"

namespace veloxquant::cli {
namespace {

using testing::ElementsAre;

std::vector<std::string> names(const std::vector<BenchmarkMethod>& methods) {
  std::vector<std::string> result;
  for (const BenchmarkMethod& method : methods) result.push_back(method.name());
  return result;
}

std::vector<std::string> asked(const std::vector<std::string>& texts, const MethodDefaults& defaults = {}) {
  return names(asked_methods(texts, defaults));
}

TEST(Methods, AreTakenAsWritten) {
  EXPECT_THAT(asked({"trellis:2", "fp16", "q4_0:transform=hadamard"}),
              ElementsAre("trellis:2", "fp16:16", "q4_0:4:transform=hadamard"));
  EXPECT_THAT(asked({"trellis:2/affine:4:group=32"}), ElementsAre("trellis:2/affine:4:group=32"));
}

TEST(Methods, TwiceIsOnce) { EXPECT_THAT(asked({"trellis:2", "trellis:2"}), ElementsAre("trellis:2")); }

TEST(Methods, BitsFillInWhatIsNotWritten) {
  EXPECT_THAT(asked({"trellis", "turboquant_mse:4", "affine:group=32", "fp16"}, {.bits = 2}),
              ElementsAre("trellis:2", "turboquant_mse:4", "affine:2:group=32", "fp16:16"));
}

TEST(Methods, ValueBitsSetTheValuesApart) {
  EXPECT_THAT(asked({"trellis", "turboquant_mse:4"}, {.bits = 2, .value_bits = 3}),
              ElementsAre("trellis:2/trellis:3", "turboquant_mse:4/turboquant_mse:3"));
}

TEST(Methods, BitsAreTheBudgetOfMethodsThatHaveOne) {
  EXPECT_THAT(asked({"spectral", "spectral:1.5"}, {.bits = 2}), ElementsAre("spectral:2", "spectral:1.5"));
  EXPECT_THAT(asked({"spectral:1.5"}, {.value_bits = 3}), ElementsAre("spectral:1.5/spectral:3"));
  EXPECT_THROW(asked({"spectral:1.5"}, {.bits = 2}), ConfigError);
}

TEST(Methods, BudgetsMayBeBroken) {
  EXPECT_THAT(asked({"spectral", "ratequant"}, {.bits = 2.5}), ElementsAre("spectral:2.5", "ratequant:2.5"));
  EXPECT_THAT(asked({"spectral:2/trellis"}, {.value_bits = 3}), ElementsAre("spectral:2/trellis:3"));
  try {
    asked({"spectral", "trellis"}, {.bits = 2.5});
    FAIL() << "trellis has whole widths";
  } catch (const ConfigError& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("--bits 2.5: trellis has whole widths, 1, 2, 3, 4"));
  }
  EXPECT_THROW(asked({"affine"}, {.bits = 2, .value_bits = 3.5}), ConfigError);
}

TEST(Methods, ContradictionsAreRefused) {
  EXPECT_THROW(asked({"trellis:2/affine:4"}, {.value_bits = 3}), ConfigError);
  EXPECT_THAT(asked({"trellis:2/affine"}, {.value_bits = 3}), ElementsAre("trellis:2/affine:3"));
}

TEST(Methods, ArtifactsAreForCalibratedMethods) {
  EXPECT_THROW(require_calibrated(asked_methods({"trellis:2", "fp16"}, {})), ConfigError);
  require_calibrated(asked_methods({"fp16", "spectral:2"}, {}));
  require_calibrated(asked_methods({"fp16/trellis:2:centre=true"}, {}));
}

TEST(Methods, ScaleAndSeedGoWhereTheyMeanSomething) {
  EXPECT_THAT(asked({"trellis:2", "trellis:2:scale=matched", "affine:4"}, {.scale = ScaleMode::one}),
              ElementsAre("trellis:2:scale=one", "trellis:2:scale=matched", "affine:4"));
  EXPECT_THAT(asked({"trellis:2", "trellis:2:seed=9"}, {.seed = 5}),
              ElementsAre("trellis:2:seed=5", "trellis:2:seed=9"));
  EXPECT_THAT(asked({"affine:4", "q4_0:transform=hadamard", "trellis:2:transform=none"}, {.seed = 5}),
              ElementsAre("affine:4", "q4_0:4:transform=hadamard:seed=5", "trellis:2:transform=none"));
}

TEST(Methods, NothingAskedForIsIgnored) {
  EXPECT_THROW(asked({"fp16"}, {.bits = 4}), ConfigError);
  EXPECT_THROW(asked({"trellis:2"}, {.bits = 4}), ConfigError);
  EXPECT_THROW(asked({"fp16"}, {.value_bits = 4}), ConfigError);
  EXPECT_THROW(asked({"affine:4"}, {.scale = ScaleMode::one}), ConfigError);
  EXPECT_THROW(asked({"trellis:2:scale=one"}, {.scale = ScaleMode::matched}), ConfigError);
  EXPECT_THROW(asked({"no_such_method"}), ConfigError);
  EXPECT_THROW(asked({"trellis:two"}), ConfigError);
  EXPECT_THROW(asked({""}), ConfigError);
  EXPECT_THROW(asked({"trellis:2/"}), ConfigError);
}

TEST(Methods, BaselinesStandBesideWhatWasAsked) {
  EXPECT_THAT(names(baseline_methods(asked_methods({"trellis:2"}, {}), {})),
              ElementsAre("fp16:16", "q8_0:8", "q4_0:4:transform=hadamard", "affine:4", "turboquant_mse:4"));
  EXPECT_THAT(names(baseline_methods(asked_methods({"turboquant_mse", "fp16"}, {}), {})),
              ElementsAre("q8_0:8", "q4_0:4:transform=hadamard", "affine:4"));
}

}  // namespace
}  // namespace veloxquant::cli
