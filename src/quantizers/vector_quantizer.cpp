#include <veloxquant/quantizers/vector_quantizer.hpp>

#include <fmt/format.h>

#include <cstring>
#include <veloxquant/core/error.hpp>

#include "core/input.hpp"

namespace veloxquant {
namespace {

// A code tensor must be u8 (or f16 scales), [batch, heads, seq, n].
void check_encoded(const EncodedVector& e, int head_dim, std::size_t code_bytes, std::size_t scale_bytes) {
  if (e.original_shape.size() != 4 || e.original_shape[3] != head_dim) {
    throw ShapeError("decode", fmt::format("original shape {}, needs [batch, heads, seq, {}]", to_string(e.original_shape), head_dim));
  }
  Shape wanted = e.original_shape;
  wanted[3] = static_cast<std::int64_t>(code_bytes);
  if (e.indices.dtype() != DType::u8 || e.indices.shape() != wanted) {
    throw ShapeError("decode", fmt::format("indices are {} {}, need u8 {}", to_string(e.indices.dtype()),
                                           to_string(e.indices.shape()), to_string(wanted)));
  }
  wanted[3] = static_cast<std::int64_t>(scale_bytes / 2);
  if (scale_bytes == 0 ? e.scale.has_value() : !e.scale || e.scale->dtype() != DType::f16 || e.scale->shape() != wanted) {
    throw ShapeError("decode", scale_bytes == 0 ? std::string("this code has no scales")
                                                : fmt::format("scales need f16 {}", to_string(wanted)));
  }
}

// A method from outside that codes vectors of one size but implements only encode() and decode().
class Wrapped final : public VectorQuantizer {
 public:
  Wrapped(std::shared_ptr<const Quantizer> inner, Role role, int head_dim)
      : inner_(std::move(inner)), role_(role), head_dim_(head_dim) {
    // One vector and two vectors tell the size of the codes and that it is the same for each.
    const EncodedVector one = code(Tensor::zeros({1, 1, 1, head_dim}, DType::f32));
    const EncodedVector two = code(Tensor::zeros({1, 1, 2, head_dim}, DType::f32));
    code_bytes_ = one.indices.nbytes();
    scale_bytes_ = one.scale ? one.scale->nbytes() : 0;
    index_dtype_ = one.indices.dtype();
    if (one.scale) scale_dtype_ = one.scale->dtype();
    const std::size_t two_scales = two.scale ? two.scale->nbytes() : 0;
    if (two.indices.nbytes() != 2 * code_bytes_ || two_scales != 2 * scale_bytes_ || one.indices.rank() != 4 ||
        (one.scale && one.scale->rank() != 4)) {
      throw ConfigError("quantizer", fmt::format("codes take {} + {} bytes for one vector and {} + {} for two; a cache needs "
                                                 "4-D codes of one size per vector", code_bytes_, scale_bytes_,
                                                 two.indices.nbytes(), two_scales));
    }
    metadata_ = one.metadata;
  }
  int head_dim() const noexcept override { return head_dim_; }
  std::size_t code_bytes() const noexcept override { return code_bytes_; }
  std::size_t scale_bytes() const noexcept override { return scale_bytes_; }
  void encode_rows(const float* rows, std::size_t count, int /*head*/, std::uint8_t* codes,
                   std::uint8_t* scales) const override {
    const auto n = static_cast<std::int64_t>(count);
    const EncodedVector e = code(Tensor::wrap(const_cast<float*>(rows), {1, 1, n, head_dim_}, DType::f32));
    if (e.indices.nbytes() != count * code_bytes_ || (e.scale ? e.scale->nbytes() : 0) != count * scale_bytes_) {
      throw ConfigError("encode", fmt::format("{} vectors gave {} bytes of codes, expected {}", count, e.indices.nbytes(),
                                              count * code_bytes_));
    }
    const Tensor indices = e.indices.contiguous();
    std::memcpy(codes, indices.raw(), indices.nbytes());
    if (e.scale) {
      const Tensor scale = e.scale->contiguous();
      std::memcpy(scales, scale.raw(), scale.nbytes());
    }
  }
  void decode_rows(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count, int /*head*/,
                   float* rows) const override {
    const auto n = static_cast<std::int64_t>(count);
    EncodedVector e;
    const auto width = [&](std::size_t bytes, DType dtype) { return static_cast<std::int64_t>(bytes / size_of(dtype)); };
    e.indices = Tensor::wrap(const_cast<std::uint8_t*>(codes), {1, 1, n, width(code_bytes_, index_dtype_)}, index_dtype_);
    if (scale_bytes_ != 0) {
      e.scale = Tensor::wrap(const_cast<std::uint8_t*>(scales), {1, 1, n, width(scale_bytes_, scale_dtype_)}, scale_dtype_);
    }
    e.metadata = metadata_;
    e.original_shape = {1, 1, n, head_dim_};
    const Tensor x = checked_vectors(role_ == Role::keys ? inner_->decode(e) : inner_->decode_values(e), head_dim_, "decode");
    if (x.numel() != n * head_dim_) {
      throw ShapeError("decode", fmt::format("{} vectors were decoded to shape {}", count, to_string(x.shape())));
    }
    std::memcpy(rows, x.raw(), x.nbytes());
  }
  std::size_t method_bytes() const noexcept override { return 0; }

 private:
  EncodedVector code(const Tensor& x) const { return role_ == Role::keys ? inner_->encode(x) : inner_->encode_values(x); }

  std::shared_ptr<const Quantizer> inner_;
  Role role_;
  int head_dim_;
  std::size_t code_bytes_ = 0, scale_bytes_ = 0;
  DType index_dtype_ = DType::u8, scale_dtype_ = DType::f16;
  EncodingMetadata metadata_;
};

}  // namespace

EncodedVector VectorQuantizer::encode(const Tensor& x) const {
  const Tensor rows = checked_vectors(x, head_dim(), "encode");
  EncodedVector result;
  result.original_shape = x.shape();
  result.dtype = x.dtype();
  Shape shape = x.shape();
  shape[3] = static_cast<std::int64_t>(code_bytes());
  result.indices = Tensor::empty(shape, DType::u8);
  shape[3] = static_cast<std::int64_t>(scale_bytes() / 2);
  if (scale_bytes() != 0) result.scale = Tensor::empty(shape, DType::f16);
  const auto tokens = static_cast<std::size_t>(x.dim(2));
  for (std::int64_t i = 0; i < x.dim(0) * x.dim(1); ++i) {
    const std::size_t first = static_cast<std::size_t>(i) * tokens;
    encode_rows(rows.data<float>() + first * static_cast<std::size_t>(head_dim()), tokens, static_cast<int>(i % x.dim(1)),
                result.indices.data<std::uint8_t>() + first * code_bytes(),
                result.scale ? static_cast<std::uint8_t*>(result.scale->raw()) + first * scale_bytes() : nullptr);
  }
  return result;
}

Tensor VectorQuantizer::decode(const EncodedVector& encoded) const {
  check_encoded(encoded, head_dim(), code_bytes(), scale_bytes());
  const Tensor indices = encoded.indices.contiguous();
  const Tensor scale = encoded.scale ? encoded.scale->contiguous() : Tensor();
  Tensor rows = Tensor::empty(encoded.original_shape, DType::f32);
  const auto tokens = static_cast<std::size_t>(encoded.original_shape[2]);
  const std::int64_t heads = encoded.original_shape[1];
  for (std::int64_t i = 0; i < encoded.original_shape[0] * heads; ++i) {
    const std::size_t first = static_cast<std::size_t>(i) * tokens;
    decode_rows(indices.data<std::uint8_t>() + first * code_bytes(),
                encoded.scale ? static_cast<const std::uint8_t*>(scale.raw()) + first * scale_bytes() : nullptr, tokens,
                static_cast<int>(i % heads), rows.data<float>() + first * static_cast<std::size_t>(head_dim()));
  }
  return rows.to(encoded.dtype);
}

std::shared_ptr<const VectorQuantizer> as_vector_quantizer(std::shared_ptr<const Quantizer> quantizer, Role role,
                                                           int head_dim) {
  if (auto direct = std::dynamic_pointer_cast<const VectorQuantizer>(quantizer)) return direct;
  return std::make_shared<const Wrapped>(std::move(quantizer), role, head_dim);
}

}  // namespace veloxquant
