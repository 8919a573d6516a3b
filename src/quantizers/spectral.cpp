#include "quantizers/spectral.hpp"

#include <fmt/format.h>

#include <set>
#include <utility>
#include <vector>
#include <veloxquant/core/config.hpp>
#include <veloxquant/core/error.hpp>
#include <veloxquant/quantizers/vector_quantizer.hpp>

#include "calibration/spectral_artifact.hpp"
#include "core/quote.hpp"
#include "quantizers/model_budget.hpp"
#include "quantizers/spectral_head.hpp"

namespace veloxquant {
namespace {

class SpectralQuantizer final : public VectorQuantizer {
 public:
  SpectralQuantizer(std::vector<SpectralHead> heads, int head_dim, std::int64_t frame, std::int64_t step,
                    std::size_t turn_bytes)
      : heads_(std::move(heads)), head_dim_(head_dim), frame_(frame), step_(step), method_bytes_(turn_bytes) {
    std::set<const std::vector<float>*> tables;  // heads share those of equal codes
    for (const SpectralHead& head : heads_) {
      method_bytes_ += head.nbytes();
      for (const CodeRun& run : head.spec().runs) {
        if (run.table && tables.insert(run.table.get()).second)
          method_bytes_ += sizeof(float) * run.table->size();
      }
    }
  }

  int head_dim() const noexcept override { return head_dim_; }
  int kv_heads() const noexcept override { return static_cast<int>(heads_.size()); }
  std::size_t code_bytes(int head) const noexcept override { return of(head).spec().code_bytes(); }
  std::size_t scale_bytes(int head) const noexcept override { return of(head).spec().scale_bytes(); }
  bool gain_scale(int head) const noexcept override { return scale_bytes(head) > 0; }
  std::int64_t frame() const noexcept override { return frame_; }
  using VectorQuantizer::code_spec;
  const CodeSpec* code_spec(int head) const override {
    return of(head).readable() ? &of(head).spec() : nullptr;
  }
  const CodedBasis* basis(int head) const noexcept override {
    return of(head).readable() ? &of(head) : nullptr;
  }

  void encode_rows(const float* rows, std::size_t count, int head, std::uint8_t* codes,
                   std::uint8_t* scales) const override {
    encode_rows_at(rows, counted_places(count).data(), count, head, codes, scales);
  }
  void decode_rows(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count, int head,
                   float* rows) const override {
    decode_rows_at(codes, scales, counted_places(count).data(), count, head, rows);
  }
  void encode_rows_at(const float* rows, const TokenPlace* places, std::size_t count, int head,
                      std::uint8_t* codes, std::uint8_t* scales) const override {
    of(head).encode(rows, places, count, codes, scales);
  }
  void decode_rows_at(const std::uint8_t* codes, const std::uint8_t* scales, const TokenPlace* places,
                      std::size_t count, int head, float* rows) const override {
    of(head).decode(codes, scales, places, count, rows);
  }
  std::size_t method_bytes() const noexcept override { return method_bytes_; }

 private:
  const SpectralHead& of(int head) const noexcept { return heads_[static_cast<std::size_t>(head)]; }
  // Without a cache positions count from the context's step.
  std::vector<TokenPlace> counted_places(std::size_t count) const {
    std::vector<TokenPlace> places(count);
    for (std::size_t i = 0; i < count; ++i) {
      const auto at = static_cast<std::int64_t>(i);
      places[i] = {.position = step_ + at, .frame_start = step_ + (frame_ > 0 ? at / frame_ * frame_ : 0)};
    }
    return places;
  }

  std::vector<SpectralHead> heads_;
  int head_dim_;
  std::int64_t frame_, step_;
  std::size_t method_bytes_;
};

std::vector<std::vector<RunPlan>> allocate(const SpectralSettings& s, const QuantizerOptions& o) {
  const std::vector<AllocationGroup> all = allocation_groups(*o.context->artifacts, s);
  const std::vector<bool> shares = budget_sharing(kSpectralMethod, s.groups(), o);
  std::vector<AllocationGroup> groups;
  for (std::size_t g = 0; g < all.size(); ++g) {
    if (shares[g]) groups.push_back(all[g]);
  }
  const Allocation allocation = allocate_bits(
      groups, {.target_bits = budget_of(kSpectralMethod, o, s.target_bits), .code = s.code, .gain = s.gain});
  std::vector<std::vector<RunPlan>> runs(all.size());
  for (std::size_t g = 0, next = 0; g < all.size(); ++g) {
    if (shares[g]) runs[g] = allocation.runs[next++];
  }
  return runs;
}

}  // namespace

MethodInfo spectral_info() {
  return {
      "keys in RoPE frames and values in calibrated bases, one bit budget over the whole model, 4-bit gains",
      {},
      {kBudgetOption},
      "artifacts of `veloxquant precompute --method spectral`"};
}

std::shared_ptr<const Quantizer> make_spectral(const QuantizerOptions& o) {
  const QuantizationContext& context = require_artifacts(kSpectralMethod, o);
  const ArtifactStore& store = *context.artifacts;
  const SpectralSettings s = read_settings(store);
  const ModelGroups all = s.groups();
  const int layer = require_layer(kSpectralMethod, all, o);
  const auto runs = allocate(s, o);

  std::shared_ptr<const RopeTurn> turn;
  std::int64_t frame = 0;
  if (o.role == Role::keys) {
    if (context.config == nullptr || !context.config->options().rope) {
      throw UnsupportedError("create",
                             "method 'spectral' turns keys back and needs the model's rotary embedding: set "
                             "KVCacheOptions::rope");
    }
    const RopeConfig& rope = *context.config->options().rope;
    if (to_string(rope) != s.rope) {
      throw ArtifactError("create",
                          fmt::format("the artifacts are of keys under the rotary embedding {}, the "
                                      "cache's is {}; run precompute on this model",
                                      quote(s.rope), quote(to_string(rope))));
    }
    turn = std::make_shared<const RopeTurn>(rope, o.head_dim);
    frame = s.frame == 0 ? kEndlessFrame : s.frame;
  }
  const Shape rows{s.kv_heads, s.head_dim}, matrices{s.kv_heads, s.head_dim, s.head_dim};
  const Tensor mean = spectral_tensor(store, layer, o.role, "mean", rows);
  const Tensor lambda = spectral_tensor(store, layer, o.role, "lambda", rows);
  const Tensor forward = spectral_tensor(store, layer, o.role, "basis", matrices);
  const Tensor inverse = spectral_tensor(store, layer, o.role, "inverse", matrices);
  std::vector<SpectralHead> heads;
  for (int h = 0; h < s.kv_heads; ++h) {
    const std::ptrdiff_t row = std::ptrdiff_t{h} * s.head_dim, matrix = row * s.head_dim;
    heads.emplace_back(
        SpectralBasis{s.head_dim, mean.data<const float>() + row, forward.data<const float>() + matrix,
                      inverse.data<const float>() + matrix, lambda.data<const float>() + row},
        runs[all.index(layer, o.role, h)], s.gain, turn, frame);
  }
  return std::make_shared<const SpectralQuantizer>(std::move(heads), s.head_dim, frame, context.step,
                                                   turn ? turn->nbytes() : 0);
}

}  // namespace veloxquant
