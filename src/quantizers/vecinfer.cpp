#include "quantizers/vecinfer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>
#include <veloxquant/core/config.hpp>
#include <veloxquant/core/error.hpp>
#include <veloxquant/quantizers/vector_quantizer.hpp>
#include <veloxquant/transform/hadamard.hpp>

#include "calibration/vecinfer_artifact.hpp"
#include "codebook/product_code.hpp"
#include "quantizers/coded_quantizer.hpp"
#include "transform/smoothed.hpp"

namespace veloxquant {
namespace {

// One CodedQuantizer for each KV head, of equal shapes.
class VecInferQuantizer final : public VectorQuantizer {
 public:
  // `rotation` is what the heads' transforms share, or are.
  VecInferQuantizer(std::vector<CodedQuantizer> heads, const std::shared_ptr<const RowTransform>& rotation)
      : heads_(std::move(heads)), method_bytes_(rotation->nbytes()) {
    for (const CodedQuantizer& head : heads_) {
      method_bytes_ += head.method_bytes();
      if (head.transform(0) == rotation.get()) method_bytes_ -= rotation->nbytes();
    }
  }

  int head_dim() const noexcept override { return heads_.front().head_dim(); }
  int kv_heads() const noexcept override { return static_cast<int>(heads_.size()); }
  std::size_t code_bytes(int head) const noexcept override { return of(head).code_bytes(0); }
  std::size_t scale_bytes(int head) const noexcept override { return of(head).scale_bytes(0); }
  using VectorQuantizer::code_spec;
  const CodeSpec* code_spec(int head) const override { return of(head).code_spec(); }
  const RowTransform* transform(int head) const noexcept override { return of(head).transform(0); }
  const float* centre(int head) const noexcept override { return of(head).centre(0); }
  void encode_rows(const float* rows, std::size_t count, int head, std::uint8_t* codes,
                   std::uint8_t* scales) const override {
    of(head).encode_rows(rows, count, 0, codes, scales);
  }
  void decode_rows(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count, int head,
                   float* rows) const override {
    of(head).decode_rows(codes, scales, count, 0, rows);
  }
  std::size_t method_bytes() const noexcept override { return method_bytes_; }

 private:
  const CodedQuantizer& of(int head) const noexcept { return heads_[static_cast<std::size_t>(head)]; }

  std::vector<CodedQuantizer> heads_;
  std::size_t method_bytes_;
};

const QuantizationContext& context_of(const QuantizerOptions& o) {
  if (o.context == nullptr || o.context->artifacts == nullptr) {
    throw ArtifactError(
        "create",
        "method 'vecinfer' needs the codebooks that `veloxquant precompute --method vecinfer` "
        "trains on the model, and there are no artifacts (benchmark: --artifacts)");
  }
  return *o.context;
}

int layer_of(const std::string& name) {
  constexpr std::string_view kPrefix = "layers.";
  int layer = -1;
  if (name.starts_with(kPrefix))
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), layer);
  if (layer < 0)
    throw ConfigError("create",
                      fmt::format("method 'vecinfer' works in a layer of a model, not in '{}'", name));
  return layer;
}

void check_fit(const VecInferSettings& s, const QuantizerOptions& o, int layer) {
  if (s.head_dim != o.head_dim || s.kv_heads != o.kv_heads || layer >= s.layers) {
    throw ArtifactError(
        "create",
        fmt::format("the artifacts are for {} layers, {} KV heads of {}; layer {} with {} KV heads of "
                    "{} was asked for",
                    s.layers, s.kv_heads, s.head_dim, layer, o.kv_heads, o.head_dim));
  }
  const auto& config = o.context->config;
  if (config && !config->options().model.empty() && config->options().model != s.model) {
    throw ArtifactError(
        "create", fmt::format("the artifacts are of the model {}, the cache is of {}; run precompute on this "
                              "model",
                              s.model, config->options().model));
  }
}

// Numbers may be finite and yet no factors.
void require_factors(const Tensor& factors, const std::string& name) {
  for (const float factor : factors.span<const float>()) {
    if (factor >= kLeastFactor) continue;
    throw ArtifactError(
        "create", fmt::format("'{}' holds {:g}, and factors are {:g} or more; run precompute again", name,
                              factor, kLeastFactor));
  }
}

std::vector<float> row_of(const Tensor& tensor, int head) {
  const std::int64_t size = tensor.numel() / tensor.dim(0);
  const float* row = tensor.data<const float>() + head * size;
  return {row, row + size};
}

}  // namespace

MethodInfo vecinfer_info() {
  return {"smoothed and rotated keys, product codes with codebooks trained on the model (VecInfer)",
          {1, 2, 3},
          {"scale"},
          "artifacts of `veloxquant precompute --method vecinfer`",
          "hadamard"};
}

std::shared_ptr<const Quantizer> make_vecinfer(const QuantizerOptions& o) {
  const QuantizationContext& context = context_of(o);
  const ArtifactStore& store = *context.artifacts;
  const VecInferSettings s = read_vecinfer_settings(store);
  const int layer = layer_of(context.layer_name);
  check_fit(s, o, layer);
  const ProductShape& shape = *std::ranges::find(kProductShapes, o.bits, &ProductShape::bits);
  const auto tensor = [&](const std::string& what, const Shape& dims) {
    return store.floats(vecinfer_tensor(layer, o.role, what), kVecInferMethod, dims);
  };
  const Shape rows{s.kv_heads, s.head_dim};
  const Tensor means = tensor("mean", rows);
  const Tensor codebooks =
      tensor(codebook_name(shape), {s.kv_heads, std::int64_t{1} << shape.index_bits, shape.dims});
  const bool smooth = o.role == Role::keys;
  const Tensor factors = smooth ? tensor("smooth", rows) : Tensor();
  if (smooth) require_factors(factors, vecinfer_tensor(layer, o.role, "smooth"));

  const auto rotation = std::make_shared<const HadamardTransform>(s.head_dim, s.seed);
  std::vector<CodedQuantizer> heads;
  for (int h = 0; h < s.kv_heads; ++h) {
    std::shared_ptr<const RowTransform> transform = rotation;
    if (smooth) transform = std::make_shared<const SmoothedTransform>(row_of(factors, h), rotation);
    heads.emplace_back(
        row_of(means, h), std::move(transform),
        make_product_code(row_of(codebooks, h), shape.index_bits, shape.dims, s.head_dim, o.scale));
  }
  return std::make_shared<const VecInferQuantizer>(std::move(heads), rotation);
}

}  // namespace veloxquant
