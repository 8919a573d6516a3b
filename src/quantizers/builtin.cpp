#include "quantizers/builtin.hpp"

#include <fmt/format.h>

#include <memory>
#include <veloxquant/core/artifact_store.hpp>
#include <veloxquant/core/error.hpp>
#include <veloxquant/core/registry.hpp>
#include <veloxquant/transform/hadamard.hpp>
#include <veloxquant/transform/rotation.hpp>

#include "calibration/model_groups.hpp"
#include "calibration/ratequant_artifact.hpp"
#include "calibration/spectral_artifact.hpp"
#include "calibration/vecinfer_artifact.hpp"
#include "quantizers/coded_quantizer.hpp"
#include "quantizers/model_budget.hpp"
#include "quantizers/ratequant.hpp"
#include "quantizers/spectral.hpp"
#include "quantizers/vecinfer.hpp"

namespace veloxquant {
namespace {

using CodeMaker = std::unique_ptr<RowCode> (*)(const QuantizerOptions&);

// A row of the table of methods: what it is and its code.
struct Method {
  const char* name;
  MethodInfo info;
  CodeMaker code;
};

std::shared_ptr<const RowTransform> make_transform(const std::string& name, const QuantizerOptions& o) {
  if (name == "none") return nullptr;
  if (name == "hadamard") return std::make_shared<const HadamardTransform>(o.head_dim, o.seed);
  if (name == "haar") return std::make_shared<const HaarRotation>(o.head_dim, o.seed);
  throw ConfigError("create", fmt::format("unknown transform '{}'; known are none, hadamard, haar", name));
}

std::vector<float> calibrated_means(const std::string& method, const QuantizerOptions& o) {
  if (!o.centre) return {};
  const auto* artifacts = o.context ? o.context->artifacts.get() : nullptr;
  const std::string name =
      fmt::format("{}.{}.mean", o.context ? o.context->layer_name : "layers.?", to_string(o.role));
  if (artifacts == nullptr) {
    throw ArtifactError(
        "create", fmt::format("method '{}' with centre needs the means '{}' that `veloxquant precompute "
                              "--method {}` takes of the model's keys and values, and there are no "
                              "artifacts (benchmark: --artifacts)",
                              method, name, kMeanMethod));
  }
  const auto made_for = artifacts->facts().find("method");
  if (made_for != artifacts->facts().end()) {
    if (made_for->second != kMeanMethod) {
      throw ArtifactError(
          "create", fmt::format("the artifacts are of the method '{}', whose means are not those of the "
                                "cached vectors that centre of method '{}' subtracts",
                                made_for->second, method));
    }
    // Stores that a program fills need not say of which model they are.
    if (artifacts->facts().contains("method_schema"))
      require_layer(method, read_groups(*artifacts, kMeanMethod, kMeanSchema), o);
  }
  const Tensor means = artifacts->floats(name, method, {o.kv_heads, o.head_dim});
  return {means.data<const float>(), means.data<const float>() + means.numel()};
}

// In a function: the registry may ask before this file's own objects are made.
const std::vector<Method>& table_of_methods() {
  static const std::vector<std::string> kRotated = {"scale", "transform", "seed", "centre"};
  static const std::vector<std::string> kPlain = {"transform", "seed", "centre"};
  static const std::vector<Method> kMethods = {
      {"turboquant_mse",
       {"rotated Lloyd-Max scalar codes (TurboQuant_mse, EDEN), f16 scale per vector",
        {1, 2, 3, 4, 5, 6, 7, 8},
        kRotated,
        "nothing",
        "hadamard"},
       [](const QuantizerOptions& o) { return make_scalar_code(o.bits, o.head_dim, o.scale); }},
      {"trellis",
       {"rotated tail-biting trellis codes, 8-bit window, f16 scale per vector",
        {1, 2, 3, 4},
        kRotated,
        "nothing",
        "hadamard"},
       [](const QuantizerOptions& o) { return make_trellis_code(o.bits, o.head_dim, o.scale); }},
      {"rabitq",
       {"rotated points of a uniform grid by largest cosine (RaBitQ), f16 scale per vector",
        {1, 2, 3, 4, 5, 6, 7, 8},
        kRotated,
        "nothing",
        "hadamard"},
       [](const QuantizerOptions& o) { return make_rabitq_code(o.bits, o.head_dim, o.scale); }},
      {"fp32",
       {"32-bit floats: the unquantized reference", {32}, {}, "nothing"},
       [](const QuantizerOptions& o) { return make_float_code(CodeKind::f32, o.head_dim); }},
      {"fp16",
       {"16-bit floats (binary16)", {16}, {}, "nothing"},
       [](const QuantizerOptions& o) { return make_float_code(CodeKind::f16, o.head_dim); }},
      {"bf16",
       {"16-bit floats (bfloat16)", {16}, {}, "nothing"},
       [](const QuantizerOptions& o) { return make_float_code(CodeKind::bf16, o.head_dim); }},
      {"fp8",
       {"8-bit floats (E4M3, no scale)", {8}, {}, "nothing"},
       [](const QuantizerOptions& o) { return make_float_code(CodeKind::fp8_e4m3, o.head_dim); }},
      {"q8_0",
       {"8-bit integers, f16 scale per 32 coordinates, as ggml", {8}, kPlain, "head_dim a multiple of 32"},
       [](const QuantizerOptions& o) { return make_integer_code(8, o.head_dim); }},
      {"q4_0",
       {"4-bit integers, f16 scale per 32 coordinates, as ggml", {4}, kPlain, "head_dim a multiple of 32"},
       [](const QuantizerOptions& o) { return make_integer_code(4, o.head_dim); }},
      {"affine",
       {"integers with f16 scale and bias per group of 32, 64 (default) or 128 coordinates, as mlx-lm",
        {2, 3, 4, 5, 6, 8},
        {"group", "transform", "seed", "centre"},
        "head_dim a multiple of the group"},
       [](const QuantizerOptions& o) {
         return make_affine_code(o.bits, o.group == 0 ? 64 : o.group, o.head_dim);
       }},
  };
  return kMethods;
}

}  // namespace

std::vector<BuiltinMethod> builtin_methods() {
  std::vector<BuiltinMethod> methods;
  for (const Method& method : table_of_methods()) {
    const auto make = [&method](const QuantizerOptions& o) -> std::shared_ptr<const Quantizer> {
      auto transform = make_transform(o.transform.empty() ? method.info.transform : o.transform, o);
      return std::make_shared<const CodedQuantizer>(calibrated_means(method.name, o), std::move(transform),
                                                    method.code(o));
    };
    methods.push_back({method.name, make, method.info});
    methods.back().info.reads_artifacts = false;
  }
  methods.push_back({kSpectralMethod, make_spectral, spectral_info()});
  methods.push_back({kRatequantMethod, make_ratequant, ratequant_info()});
  methods.push_back({kVecInferMethod, make_vecinfer, vecinfer_info()});
  return methods;
}

}  // namespace veloxquant
