// VectorQuantizer: a quantizer that codes each vector by itself into a fixed number of bytes.
//
// All built-in methods are of this kind. encode() and decode() of the Quantizer interface are written here, once,
// in terms of rows; the cache calls the row functions directly. A calibrated method may spend other bits on every KV
// head, so sizes, codes and transforms are asked for by head; what is asked for without one holds for all heads.
//
// Where the heads' sizes are equal, EncodedVector::indices is u8 [batch, heads, seq, bytes of a vector] and its scale
// f16 (u8 for gains) [batch, heads, seq, n]. Where they are not, both are u8 [batch, bytes], the heads one after the
// other, each [seq, bytes of a vector]. EncodedVector::metadata names the code of the first head ("code") and holds
// the quantizer's fingerprint ("quantizer"): decode() refuses codes of another quantizer with a ConfigError, be it
// another method, seed, calibration or first position. A method from outside may implement Quantizer
// alone: as_vector_quantizer() then wraps it, provided that its codes have a fixed size per vector.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <veloxquant/core/abstractions.hpp>
#include <veloxquant/core/registry.hpp>
#include <veloxquant/quantizers/code_spec.hpp>
#include <veloxquant/transform/row_transform.hpp>

namespace veloxquant {

class CodedBasis;

// Where a token stands: its position in the text, and that of the first token of its frame. Frames are cut by the
// cache: `frame()` consecutive coded tokens, from the first coded one on; a token whose distance from the start of
// its frame would reach `frame()` (a gap in the positions) begins a new one. So 0 <= position - frame_start < frame().
struct TokenPlace {
  std::int64_t position = 0, frame_start = 0;
};

class VectorQuantizer : public Quantizer {
 public:
  virtual int head_dim() const noexcept = 0;
  // KV heads that the method holds something for (means, bases); tensors for it have so many. 0: it has
  // nothing by head and takes any number.
  virtual int kv_heads() const noexcept { return 0; }
  virtual std::size_t code_bytes(int head) const noexcept = 0;   // of one vector
  virtual std::size_t scale_bytes(int head) const noexcept = 0;  // of one vector
  // Whether the scale is one gain (VectorScale::gain): of its byte four bits are used, and a page keeps the gains of a
  // token's key and value in one byte.
  virtual bool gain_scale(int head) const noexcept {
    const CodeSpec* spec = code_spec(head);
    return spec != nullptr && spec->has_vector_scale() && spec->vector_scale == VectorScale::gain;
  }
  using Quantizer::code_spec;
  virtual const CodeSpec* code_spec(int /*head*/) const { return code_spec(); }
  // Codes `count` vectors of KV head `head`: rows f32 [count, head_dim] (finite) -> codes [count, code_bytes(head)]
  // and scales [count, scale_bytes(head)]. Throws NumericError when a value leaves the range that the code holds.
  virtual void encode_rows(const float* rows, std::size_t count, int head, std::uint8_t* codes,
                           std::uint8_t* scales) const = 0;
  // The same for one vector of each of `heads` KV heads from `first` on, which are cheaper coded together
  // than one by one: rows [heads, head_dim], codes and scales where the heads want theirs.
  virtual void encode_heads(const float* rows, int first, int heads, std::uint8_t* const* codes,
                            std::uint8_t* const* scales) const {
    for (int i = 0; i < heads; ++i, rows += head_dim()) encode_rows(rows, 1, first + i, codes[i], scales[i]);
  }
  // The inverse: the decoded vectors in the space of the input.
  virtual void decode_rows(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count, int head,
                           float* rows) const = 0;
  // Methods whose transform depends on the position (keys coded in a RoPE frame) code frames of so many tokens; 0 when
  // positions do not matter. The cache then calls the two functions below, with the place of each vector.
  virtual std::int64_t frame() const noexcept { return 0; }
  virtual void encode_rows_at(const float* rows, const TokenPlace* /*places*/, std::size_t count, int head,
                              std::uint8_t* codes, std::uint8_t* scales) const {
    encode_rows(rows, count, head, codes, scales);
  }
  virtual void decode_rows_at(const std::uint8_t* codes, const std::uint8_t* scales,
                              const TokenPlace* /*places*/, std::size_t count, int head, float* rows) const {
    decode_rows(codes, scales, count, head, rows);
  }
  // The transform between the input and what the codes hold; null when there is none. Attention transforms the
  // query (keys) or the sum (values) instead of the cached vectors.
  virtual const RowTransform* transform(int /*head*/) const noexcept { return nullptr; }
  // How the codes of code_spec(head) stand to the input where transform() and centre() cannot say it (fewer coordinates,
  // frames); null when those two do. Attention on codes then goes through it.
  virtual const CodedBasis* basis(int /*head*/) const noexcept { return nullptr; }
  // The mean [head_dim] subtracted from the vectors of a KV head before the transform; null when there is none.
  virtual const float* centre(int /*head*/) const noexcept { return nullptr; }
  // Bytes of tables, bases and means held by the method and shared by all caches that use it.
  virtual std::size_t method_bytes() const noexcept = 0;

  // What tells quantizers apart whose codes do not mean the same: a hash of how each codes some fixed vectors,
  // equal on every CPU level; 16 hexadecimal digits.
  std::string fingerprint() const;

  EncodedVector encode(const Tensor& x) const override;
  Tensor decode(const EncodedVector& encoded) const override;
  double bits_per_element() const override;  // the mean over the KV heads
};

// The quantizer itself when it is a VectorQuantizer, else a wrapper that reaches it through encode() and decode()
// (encode_values() and decode_values() when role is values). Throws ConfigError when its codes are not of one
// size per vector.
std::shared_ptr<const VectorQuantizer> as_vector_quantizer(std::shared_ptr<const Quantizer> quantizer,
                                                           Role role, int head_dim);

}  // namespace veloxquant
