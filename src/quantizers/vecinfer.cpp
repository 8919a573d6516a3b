#include "quantizers/vecinfer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>
#include <veloxquant/core/error.hpp>
#include <veloxquant/quantizers/vector_quantizer.hpp>
#include <veloxquant/transform/hadamard.hpp>

#include "calibration/vecinfer_artifact.hpp"
#include "codebook/product_code.hpp"
#include "quantizers/coded_quantizer.hpp"
#include "quantizers/model_budget.hpp"
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

// Numbers may be finite and yet no factors.
void require_factors(const Tensor& factors, const std::string& name) {
  for (const float factor : factors.span<const float>()) {
    if (factor >= kLeastFactor && factor <= kLargestFactor) continue;
    throw ArtifactError(
        "create", fmt::format("'{}' holds {:g}, and factors are from {:g} to {:g}; run precompute again",
                              name, factor, kLeastFactor, kLargestFactor));
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
  const ArtifactStore& store = *require_artifacts(kVecInferMethod, o).artifacts;
  const auto [groups, seed] = read_vecinfer_settings(store);
  const int layer = require_layer(kVecInferMethod, groups, o);
  const ProductShape& shape = *std::ranges::find(kProductShapes, o.bits, &ProductShape::bits);
  const auto tensor = [&](const std::string& what, const Shape& dims) {
    return store.floats(artifact_tensor(layer, o.role, what), kVecInferMethod, dims);
  };
  const Shape rows{groups.kv_heads, groups.head_dim};
  const Tensor means = tensor("mean", rows);
  const Tensor codebooks =
      tensor(codebook_name(shape), {groups.kv_heads, std::int64_t{1} << shape.index_bits, shape.dims});
  const bool smooth = o.role == Role::keys;
  const Tensor factors = smooth ? tensor("smooth", rows) : Tensor();
  if (smooth) require_factors(factors, artifact_tensor(layer, o.role, "smooth"));

  const auto rotation = std::make_shared<const HadamardTransform>(groups.head_dim, seed);
  std::vector<CodedQuantizer> heads;
  for (int h = 0; h < groups.kv_heads; ++h) {
    std::shared_ptr<const RowTransform> transform = rotation;
    if (smooth) transform = std::make_shared<const SmoothedTransform>(row_of(factors, h), rotation);
    heads.emplace_back(
        row_of(means, h), std::move(transform),
        make_product_code(row_of(codebooks, h), shape.index_bits, shape.dims, groups.head_dim, o.scale));
  }
  return std::make_shared<const VecInferQuantizer>(std::move(heads), rotation);
}

}  // namespace veloxquant
