#define XXH_INLINE_ALL
#include <xxhash.h>

#include <veloxquant/quantizers/vector_quantizer.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>
#include <veloxquant/core/error.hpp>

#include "core/input.hpp"
#include "core/quote.hpp"

namespace veloxquant {
namespace {

// Where the codes or the scales of each head of each batch row stand in the tensors of an EncodedVector.
struct EncodedLayout {
  EncodedLayout(const VectorQuantizer& method, const Shape& shape)
      : heads(static_cast<int>(shape[1])), tokens(static_cast<std::size_t>(shape[2])) {
    for (int h = 0; h < heads; ++h) {
      equal = equal && method.code_bytes(h) == method.code_bytes(0) &&
              method.scale_bytes(h) == method.scale_bytes(0);
      codes.push_back(tokens * row_codes);
      scales.push_back(tokens * row_scales);
      row_codes += method.code_bytes(h);
      row_scales += method.scale_bytes(h);
    }
    scale_dtype = equal && heads > 0 && method.scale_bytes(0) % 2 == 0 ? DType::f16 : DType::u8;
    const auto tensor_shape = [&](std::size_t row, std::size_t vector) -> Shape {
      if (!equal) return {shape[0], static_cast<std::int64_t>(tokens * row)};
      return {shape[0], shape[1], shape[2], static_cast<std::int64_t>(vector)};
    };
    codes_shape = tensor_shape(row_codes, heads > 0 ? method.code_bytes(0) : 0);
    scales_shape = tensor_shape(row_scales, heads > 0 ? method.scale_bytes(0) / size_of(scale_dtype) : 0);
  }
  std::size_t codes_at(std::int64_t row, int head) const {
    return static_cast<std::size_t>(row) * tokens * row_codes + codes[static_cast<std::size_t>(head)];
  }
  std::size_t scales_at(std::int64_t row, int head) const {
    return static_cast<std::size_t>(row) * tokens * row_scales + scales[static_cast<std::size_t>(head)];
  }

  int heads;
  std::size_t tokens;
  bool equal = true;
  std::vector<std::size_t> codes{}, scales{};  // of each head, from the row's begin
  std::size_t row_codes = 0, row_scales = 0;   // of one token, all heads
  DType scale_dtype = DType::f16;
  Shape codes_shape{}, scales_shape{};
};

void check_encoded(const EncodedVector& e, const EncodedLayout& layout) {
  if (e.indices.dtype() != DType::u8 || e.indices.shape() != layout.codes_shape) {
    throw ShapeError("decode", fmt::format("indices are {} {}, need u8 {}", to_string(e.indices.dtype()),
                                           to_string(e.indices.shape()), to_string(layout.codes_shape)));
  }
  if (layout.row_scales == 0
          ? e.scale.has_value()
          : !e.scale || e.scale->dtype() != layout.scale_dtype || e.scale->shape() != layout.scales_shape) {
    throw ShapeError("decode", layout.row_scales == 0
                                   ? std::string("this code has no scales")
                                   : fmt::format("scales need {} {}", to_string(layout.scale_dtype),
                                                 to_string(layout.scales_shape)));
  }
}

constexpr const char* kFingerprint = "quantizer";

void check_fingerprint(const EncodedVector& e, const std::string& own) {
  const auto found = e.metadata.find(kFingerprint);
  if (found == e.metadata.end()) return;  // made by a program from bytes that it kept
  const auto* const theirs = std::get_if<std::string>(&found->second);
  if (theirs != nullptr && *theirs == own) return;
  throw ConfigError("decode", fmt::format("the codes are of the quantizer {}, this one is {}; method, width, "
                                          "seed, artifacts and first position must be those of encode()",
                                          theirs == nullptr ? "?" : quote(*theirs), own));
}

void require_heads(const VectorQuantizer& method, const Shape& shape, const char* operation) {
  if (method.kv_heads() == 0 || shape[1] == method.kv_heads()) return;
  throw ShapeError(operation, fmt::format("{} heads in shape {}; the method is calibrated for {} KV heads",
                                          shape[1], to_string(shape), method.kv_heads()));
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
    if (two.indices.nbytes() != 2 * code_bytes_ || two_scales != 2 * scale_bytes_ ||
        one.indices.rank() != 4 || (one.scale && one.scale->rank() != 4)) {
      throw ConfigError(
          "quantizer",
          fmt::format("codes take {} + {} bytes for one vector and {} + {} for two; a cache needs "
                      "4-D codes of one size per vector",
                      code_bytes_, scale_bytes_, two.indices.nbytes(), two_scales));
    }
    metadata_ = one.metadata;
  }
  int head_dim() const noexcept override { return head_dim_; }
  std::size_t code_bytes(int /*head*/) const noexcept override { return code_bytes_; }
  std::size_t scale_bytes(int /*head*/) const noexcept override { return scale_bytes_; }
  void encode_rows(const float* rows, std::size_t count, int /*head*/, std::uint8_t* codes,
                   std::uint8_t* scales) const override {
    const auto n = static_cast<std::int64_t>(count);
    const EncodedVector e = code(Tensor::wrap(const_cast<float*>(rows), {1, 1, n, head_dim_}, DType::f32));
    if (e.indices.nbytes() != count * code_bytes_ ||
        (e.scale ? e.scale->nbytes() : 0) != count * scale_bytes_) {
      throw ConfigError("encode", fmt::format("{} vectors gave {} bytes of codes, expected {}", count,
                                              e.indices.nbytes(), count * code_bytes_));
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
    const auto width = [&](std::size_t bytes, DType dtype) {
      return static_cast<std::int64_t>(bytes / size_of(dtype));
    };
    e.indices = Tensor::wrap(const_cast<std::uint8_t*>(codes), {1, 1, n, width(code_bytes_, index_dtype_)},
                             index_dtype_);
    if (scale_bytes_ != 0) {
      e.scale = Tensor::wrap(const_cast<std::uint8_t*>(scales), {1, 1, n, width(scale_bytes_, scale_dtype_)},
                             scale_dtype_);
    }
    e.metadata = metadata_;
    e.original_shape = {1, 1, n, head_dim_};
    const Tensor x = checked_vectors(role_ == Role::keys ? inner_->decode(e) : inner_->decode_values(e),
                                     head_dim_, "decode");
    if (x.numel() != n * head_dim_) {
      throw ShapeError("decode",
                       fmt::format("{} vectors were decoded to shape {}", count, to_string(x.shape())));
    }
    std::memcpy(rows, x.raw(), x.nbytes());
  }
  std::size_t method_bytes() const noexcept override { return 0; }

 private:
  EncodedVector code(const Tensor& x) const {
    return role_ == Role::keys ? inner_->encode(x) : inner_->encode_values(x);
  }

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
  require_heads(*this, x.shape(), "encode");
  const EncodedLayout layout(*this, x.shape());
  EncodedVector result;
  result.metadata[kFingerprint] = fingerprint();
  if (const CodeSpec* spec = layout.heads > 0 ? code_spec(0) : nullptr)
    result.metadata["code"] = spec->name();
  result.original_shape = x.shape();
  result.dtype = x.dtype();
  result.indices = Tensor::empty(layout.codes_shape, DType::u8);
  if (layout.row_scales != 0) result.scale = Tensor::empty(layout.scales_shape, layout.scale_dtype);
  auto* const scales = result.scale ? static_cast<std::uint8_t*>(result.scale->raw()) : nullptr;
  const std::size_t vectors = layout.tokens * static_cast<std::size_t>(head_dim());
  const float* from = rows.data<float>();
  for (std::int64_t b = 0; b < x.dim(0); ++b) {
    for (int h = 0; h < layout.heads; ++h, from += vectors) {
      encode_rows(from, layout.tokens, h, result.indices.data<std::uint8_t>() + layout.codes_at(b, h),
                  scales == nullptr ? nullptr : scales + layout.scales_at(b, h));
    }
  }
  return result;
}

Tensor VectorQuantizer::decode(const EncodedVector& encoded) const {
  const Shape& shape = encoded.original_shape;
  if (shape.size() != 4 || shape[3] != head_dim()) {
    throw ShapeError("decode", fmt::format("original shape {}, needs [batch, heads, seq, {}]",
                                           to_string(shape), head_dim()));
  }
  require_heads(*this, shape, "decode");
  const EncodedLayout layout(*this, shape);
  check_encoded(encoded, layout);
  check_fingerprint(encoded, fingerprint());
  const Tensor indices = encoded.indices.contiguous();
  const Tensor scale = encoded.scale ? encoded.scale->contiguous() : Tensor();
  const auto* const scales = encoded.scale ? static_cast<const std::uint8_t*>(scale.raw()) : nullptr;
  Tensor rows = Tensor::empty(shape, DType::f32);
  const std::size_t vectors = layout.tokens * static_cast<std::size_t>(head_dim());
  float* to = rows.data<float>();
  for (std::int64_t b = 0; b < shape[0]; ++b) {
    for (int h = 0; h < layout.heads; ++h, to += vectors) {
      decode_rows(indices.data<std::uint8_t>() + layout.codes_at(b, h),
                  scales == nullptr ? nullptr : scales + layout.scales_at(b, h), layout.tokens, h, to);
    }
  }
  return narrowed_vectors(rows, encoded.dtype, "decode");
}

std::string VectorQuantizer::fingerprint() const {
  // Small whole numbers, so that every code holds them and no library's rounding matters.
  constexpr std::size_t kProbes = 2;
  std::vector<float> rows(kProbes * static_cast<std::size_t>(head_dim()));
  std::uint32_t state = 1;
  for (float& value : rows) {
    state = state * 1664525u + 1013904223u;  // Numerical Recipes' generator
    value = static_cast<float>(state >> 27) - 15.5f;
  }
  std::uint64_t hash = static_cast<std::uint64_t>(head_dim());
  for (int h = 0; h < std::max(1, kv_heads()); ++h) {
    std::vector<std::uint8_t> codes(kProbes * code_bytes(h)), scales(kProbes * scale_bytes(h));
    encode_rows(rows.data(), kProbes, h, codes.data(), scales.data());
    for (const auto* bytes : {&codes, &scales})
      hash = XXH3_64bits_withSeed(bytes->data(), bytes->size(), hash);
  }
  return fmt::format("{:016x}", hash);
}

double VectorQuantizer::bits_per_element() const {
  const int heads = std::max(1, kv_heads());
  std::size_t bytes = 0;
  for (int h = 0; h < heads; ++h) bytes += code_bytes(h) + scale_bytes(h);
  return 8.0 * static_cast<double>(bytes) / heads / head_dim();
}

std::shared_ptr<const VectorQuantizer> as_vector_quantizer(std::shared_ptr<const Quantizer> quantizer,
                                                           Role role, int head_dim) {
  if (auto direct = std::dynamic_pointer_cast<const VectorQuantizer>(quantizer)) return direct;
  return std::make_shared<const Wrapped>(std::move(quantizer), role, head_dim);
}

}  // namespace veloxquant
