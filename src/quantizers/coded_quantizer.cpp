#include "quantizers/coded_quantizer.hpp"

#include <algorithm>
#include <cstring>
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

const float* CodedQuantizer::to_code_space(const Rows& rows, float* centred, float* transformed) const {
  const auto d = static_cast<std::size_t>(head_dim());
  const float* x = rows.rows;
  if (!means_.empty()) {
    for (std::size_t i = 0; i < rows.count; ++i) {
      const float* mean = centre(rows.head + static_cast<int>(i) * rows.step);
      for (std::size_t c = 0; c < d; ++c) centred[i * d + c] = x[i * d + c] - mean[c];
    }
    x = centred;
  }
  if (!transform_) return x;
  transform_->apply_rows(x, rows.count, transformed);
  return transformed;
}

void CodedQuantizer::encode_rows(const float* rows, std::size_t count, int head, std::uint8_t* codes,
                                 std::uint8_t* scales) const {
  const auto d = static_cast<std::size_t>(head_dim());
  float centred[kMaxHeadDim], transformed[kMaxHeadDim];
  for (std::size_t here; count > 0; count -= here) {
    here = std::min(count, rows_at_once(head_dim()));
    const float* x = to_code_space({rows, here, head, 0}, centred, transformed);
    code_->encode_rows(x, here, codes, scales);
    rows += here * d;
    codes += here * code_bytes(head);
    scales += here * scale_bytes(head);
  }
}

void CodedQuantizer::encode_heads(const float* rows, int first, int heads, std::uint8_t* const* codes,
                                  std::uint8_t* const* scales) const {
  const auto d = static_cast<std::size_t>(head_dim()), count = static_cast<std::size_t>(heads);
  const std::size_t code_width = code_bytes(first), scale_width = scale_bytes(first);
  float centred[kMaxHeadDim], transformed[kMaxHeadDim];
  std::uint8_t row_codes[sizeof(float) * kMaxHeadDim], row_scales[sizeof(float) * kMaxHeadDim];
  for (std::size_t begin = 0, here; begin < count; begin += here) {
    here = std::min(count - begin, rows_at_once(head_dim()));
    const int head = first + static_cast<int>(begin);
    const float* x = to_code_space({rows + begin * d, here, head, 1}, centred, transformed);
    code_->encode_rows(x, here, row_codes, row_scales);
    for (std::size_t i = 0; i < here; ++i) {
      std::memcpy(codes[begin + i], row_codes + i * code_width, code_width);
      std::memcpy(scales[begin + i], row_scales + i * scale_width, scale_width);
    }
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
