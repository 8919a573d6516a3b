#include "quantizers/ratequant.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>
#include <veloxquant/core/error.hpp>

#include "calibration/ratequant_artifact.hpp"
#include "quantizers/model_budget.hpp"

namespace veloxquant {
namespace {

using Base = std::shared_ptr<const VectorQuantizer>;

std::int64_t bits_of_vector(const VectorQuantizer& method, int head) {
  return 8 * static_cast<std::int64_t>(method.code_bytes(head) + method.scale_bytes(head));
}

// Every KV head is coded by the base method at a width of its own; kernels see each head's code as it is.
class RatequantQuantizer final : public VectorQuantizer {
 public:
  explicit RatequantQuantizer(std::vector<Base> heads) : heads_(std::move(heads)) {
    for (const Base& base : std::set<Base>(heads_.begin(), heads_.end()))
      method_bytes_ += base->method_bytes();
  }

  int head_dim() const noexcept override { return heads_.front()->head_dim(); }
  int kv_heads() const noexcept override { return static_cast<int>(heads_.size()); }
  std::size_t code_bytes(int head) const noexcept override { return of(head).code_bytes(head); }
  std::size_t scale_bytes(int head) const noexcept override { return of(head).scale_bytes(head); }
  using VectorQuantizer::code_spec;
  const CodeSpec* code_spec(int head) const override { return of(head).code_spec(head); }
  std::int64_t frame() const noexcept override { return heads_.front()->frame(); }
  const RowTransform* transform(int head) const noexcept override { return of(head).transform(head); }
  const CodedBasis* basis(int head) const noexcept override { return of(head).basis(head); }
  const float* centre(int head) const noexcept override { return of(head).centre(head); }
  std::size_t method_bytes() const noexcept override { return method_bytes_; }

  void encode_rows(const float* rows, std::size_t count, int head, std::uint8_t* codes,
                   std::uint8_t* scales) const override {
    of(head).encode_rows(rows, count, head, codes, scales);
  }
  void encode_heads(const float* rows, int first, int heads, std::uint8_t* const* codes,
                    std::uint8_t* const* scales) const override {
    for (int done = 0, alike; done < heads; done += alike) {
      const VectorQuantizer& base = of(first + done);
      for (alike = 1; done + alike < heads && &of(first + done + alike) == &base;) ++alike;
      base.encode_heads(rows + static_cast<std::ptrdiff_t>(done) * head_dim(), first + done, alike,
                        codes + done, scales + done);
    }
  }
  void decode_rows(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count, int head,
                   float* rows) const override {
    of(head).decode_rows(codes, scales, count, head, rows);
  }
  void encode_rows_at(const float* rows, const TokenPlace* places, std::size_t count, int head,
                      std::uint8_t* codes, std::uint8_t* scales) const override {
    of(head).encode_rows_at(rows, places, count, head, codes, scales);
  }
  void decode_rows_at(const std::uint8_t* codes, const std::uint8_t* scales, const TokenPlace* places,
                      std::size_t count, int head, float* rows) const override {
    of(head).decode_rows_at(codes, scales, places, count, head, rows);
  }

 private:
  const VectorQuantizer& of(int head) const noexcept { return *heads_[static_cast<std::size_t>(head)]; }

  std::vector<Base> heads_;
  std::size_t method_bytes_ = 0;
};

}  // namespace

MethodInfo ratequant_info() {
  return {
      "a base method at a width for each layer, KV head, and keys or values: one bit budget, spread exactly",
      {},
      {kBudgetOption, kSensitivityOption},
      "artifacts of `veloxquant precompute --method ratequant`"};
}

std::vector<Base> base_at_widths(const std::string& base, const std::vector<int>& widths,
                                 const QuantizerOptions& o) {
  MethodSpec spec = base_method(base);
  spec.options.head_dim = o.head_dim;
  spec.options.kv_heads = o.kv_heads;
  spec.options.role = o.role;
  spec.options.context = o.context;
  std::vector<Base> methods;
  for (const int width : widths) {
    spec.options.bits = width;
    methods.push_back(
        as_vector_quantizer(QuantizerFactory::create(spec.method, spec.options), o.role, o.head_dim));
    const VectorQuantizer& method = *methods.back();
    for (int head = 1; head < o.kv_heads; ++head) {
      if (bits_of_vector(method, head) == bits_of_vector(method, 0)) continue;
      throw UnsupportedError(
          kRatequantMethod,
          fmt::format("vectors of {} at {} bits take {} bits in head 0 and {} in head {}; a base "
                      "method has one size for a width",
                      base, width, bits_of_vector(method, 0), bits_of_vector(method, head), head));
    }
    if (method.frame() != methods.front()->frame()) {
      throw UnsupportedError(
          kRatequantMethod,
          fmt::format("{} has frames of {} tokens at {} bits and of {} at {}; "
                      "a layer's heads share theirs",
                      base, method.frame(), width, methods.front()->frame(), widths.front()));
    }
  }
  return methods;
}

std::shared_ptr<const Quantizer> make_ratequant(const QuantizerOptions& o) {
  const ArtifactStore& store = *require_artifacts(kRatequantMethod, o).artifacts;
  const RatequantSettings s = read_ratequant(store);
  const int layer = require_layer(kRatequantMethod, s.groups, o);
  const std::vector<Base> bases = base_at_widths(s.base, s.widths, o);
  for (std::size_t w = 0; w < bases.size(); ++w) {
    if (bits_of_vector(*bases[w], 0) == s.vector_bits[w]) continue;
    throw ArtifactError(kRatequantMethod,
                        fmt::format("the artifacts count {} bits for a vector of {} at {} bits; it takes {}",
                                    s.vector_bits[w], s.base, s.widths[w], bits_of_vector(*bases[w], 0)));
  }
  const RatequantPlan plan =
      allocate_ratequant(store, s, budget_of(kRatequantMethod, o, s.target_bits), sensitivity_of(o, s),
                         budget_sharing(kRatequantMethod, s.groups, o));
  std::vector<Base> heads;
  for (int head = 0; head < s.groups.kv_heads; ++head) {
    const auto width = std::ranges::find(s.widths, plan.widths[s.groups.index(layer, o.role, head)]);
    heads.push_back(bases[static_cast<std::size_t>(width - s.widths.begin())]);
  }
  return std::make_shared<const RatequantQuantizer>(std::move(heads));
}

}  // namespace veloxquant
