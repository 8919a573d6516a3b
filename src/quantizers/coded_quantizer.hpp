// CodedQuantizer: a method as a composition,  x -> centre -> transform -> code.
#pragma once

#include <memory>
#include <vector>
#include <veloxquant/quantizers/vector_quantizer.hpp>

#include "codebook/row_code.hpp"

namespace veloxquant {

class CodedQuantizer final : public VectorQuantizer {
 public:
  // `transform` may be null (none); `means` is empty or [kv_heads, head_dim].
  CodedQuantizer(std::vector<float> means, std::shared_ptr<const RowTransform> transform,
                 std::shared_ptr<const RowCode> code);

  int head_dim() const noexcept override { return code_->spec().head_dim; }
  int kv_heads() const noexcept override { return static_cast<int>(means_.size()) / head_dim(); }
  std::size_t code_bytes(int /*head*/) const noexcept override { return code_->spec().code_bytes(); }
  std::size_t scale_bytes(int /*head*/) const noexcept override { return code_->spec().scale_bytes(); }
  void encode_rows(const float* rows, std::size_t count, int head, std::uint8_t* codes,
                   std::uint8_t* scales) const override;
  void encode_heads(const float* rows, int first, int heads, std::uint8_t* const* codes,
                    std::uint8_t* const* scales) const override;
  void decode_rows(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count, int head,
                   float* rows) const override;
  const RowTransform* transform(int /*head*/) const noexcept override { return transform_.get(); }
  const float* centre(int head) const noexcept override;
  using VectorQuantizer::code_spec;
  const CodeSpec* code_spec() const override { return &code_->spec(); }
  std::size_t method_bytes() const noexcept override;

 private:
  // Vectors on their way to the code. Row i belongs to head `head` + i * `step`.
  struct Rows {
    const float* rows;
    std::size_t count;
    int head, step;
  };
  // Buffers of kMaxHeadDim floats, which hold rows_at_once() rows.
  const float* to_code_space(const Rows& rows, float* centred, float* transformed) const;

  std::vector<float> means_;
  std::shared_ptr<const RowTransform> transform_;
  std::shared_ptr<const RowCode> code_;
};

}  // namespace veloxquant
