#include "quantizers/coded_quantizer.hpp"

#include <algorithm>
#include <utility>

#include "codebook/vector_scale.hpp"
#include "transform/head_dim.hpp"

namespace veloxquant {

CodedQuantizer::CodedQuantizer(std::vector<float> means, std::shared_ptr<const RowTransform> transform,
                               std::shared_ptr<const RowCode> code)
    : means_(std::move(means)), transform_(std::move(transform)), code_(std::move(code)) {}

const float* CodedQuantizer::centre(int head) const noexcept {
  return means_.empty()
             ? nullptr
             : means_.data() + static_cast<std::size_t>(head) * static_cast<std::size_t>(head_dim());
}

void CodedQuantizer::encode_rows(const float* rows, std::size_t count, int head, std::uint8_t* codes,
                                 std::uint8_t* scales) const {
  const auto d = static_cast<std::size_t>(head_dim());
  const float* mean = centre(head);
  float centred[kMaxHeadDim], transformed[kMaxHeadDim];
  for (std::size_t here; count > 0; count -= here) {
    here = mean == nullptr && !transform_ ? count : std::min(count, rows_at_once(head_dim()));
    const float* x = rows;
    if (mean != nullptr) {
      for (std::size_t i = 0; i < here; ++i) {
        for (std::size_t c = 0; c < d; ++c) centred[i * d + c] = rows[i * d + c] - mean[c];
      }
      x = centred;
    }
    if (transform_) {
      transform_->apply_rows(x, here, transformed);
      x = transformed;
    }
    code_->encode_rows(x, here, codes, scales);
    rows += here * d;
    codes += here * code_bytes(head);
    scales += here * scale_bytes(head);
  }
}

void CodedQuantizer::decode_rows(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count,
                                 int head, float* rows) const {
  const auto d = static_cast<std::size_t>(head_dim());
  const float* mean = centre(head);
  std::vector<float> coded(transform_ ? d : 0);
  for (std::size_t i = 0; i < count; ++i) {
    float* x = rows + i * d;
    decode_row(code_->spec(), codes + i * code_bytes(head), scales + i * scale_bytes(head),
               transform_ ? coded.data() : x);
    if (transform_) transform_->inverse_row(coded.data(), x);
    if (mean != nullptr) {
      for (std::size_t c = 0; c < d; ++c) x[c] += mean[c];
    }
  }
}

std::size_t CodedQuantizer::method_bytes() const noexcept {
  return 4 * means_.size() + (transform_ ? transform_->nbytes() : 0) + code_->nbytes();
}

}  // namespace veloxquant
