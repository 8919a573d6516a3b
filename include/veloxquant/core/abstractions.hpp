// The abstract base classes. Everything in the library is one of these four, and so is everything that users add.
//
// Vectors come as 4-D tensors [batch, heads, seq, head_dim] of f32, f16 or bf16; results have the input's element
// type unless stated. NaN and infinity are refused with a NumericError that names the position. Const member
// functions may be called from several threads at once; others need the caller's own order.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include <veloxquant/attention/mask.hpp>
#include <veloxquant/core/context.hpp>
#include <veloxquant/core/tensor.hpp>

namespace veloxquant {

struct CodeSpec;

// Turns vectors into packed codes and back.
class Quantizer {
 public:
  virtual ~Quantizer() = default;
  // x [batch, heads, seq, head_dim] -> codes; throws ShapeError, DTypeError, NumericError.
  virtual EncodedVector encode(const Tensor& x) const = 0;
  // Codes -> [batch, heads, seq, head_dim] of the encoded element type.
  virtual Tensor decode(const EncodedVector& encoded) const = 0;
  // Values may be coded differently from keys; by default they are not.
  virtual EncodedVector encode_values(const Tensor& x) const { return encode(x); }
  virtual Tensor decode_values(const EncodedVector& encoded) const { return decode(encoded); }

  // Bits that one element takes in memory, scales included, on average over the KV heads; 0 when it depends
  // on the vectors.
  virtual double bits_per_element() const { return 0; }
  // Which code the bytes hold, for the attention kernels; empty means that only decode() can read them, and
  // attention then decodes tile by tile through it.
  virtual const CodeSpec* code_spec() const { return nullptr; }
};

// The history of keys and values of one attention layer.
class KVCache {
 public:
  virtual ~KVCache() = default;
  // Writes keys and values [batch, kv_heads, new, head_dim] and returns the whole dequantized history as
  // [batch, kv_heads, size, head_dim] each. `values` undefined means that the values equal the keys. It is
  // append() and then state(): where state() throws, the tokens stay appended.
  virtual std::pair<Tensor, Tensor> update(const Tensor& keys, const Tensor& values = {}) = 0;
  // The whole dequantized history, as update returns it.
  virtual std::pair<Tensor, Tensor> state() const = 0;

  // Writes without giving the history back. `positions` (i64 [batch, new] or [new]) are the tokens' positions
  // in the text; by default they count on from the last. Strong guarantee: a call that throws changed nothing.
  virtual void append(const Tensor& keys, const Tensor& values = {}, const Tensor& positions = {}) = 0;
  // Attention of queries [batch, query_heads, new, head_dim] (the newest `new` tokens of the history) on the
  // history as it is stored; returns f32 of the queries' shape. query_heads is a multiple of kv_heads. A scale
  // of 0 means 1 / sqrt(head_dim).
  virtual Tensor attend(const Tensor& queries, float scale = 0, const AttentionMask& mask = {}) const = 0;

  virtual std::int64_t size() const = 0;               // tokens in the longest row
  virtual std::size_t nbytes() const = 0;              // bytes held, exactly
  virtual void trim(std::int64_t count) = 0;           // drops the newest `count` tokens of every row
  virtual std::unique_ptr<KVCache> clone() const = 0;  // shares memory until either side writes

  // One file that holds the history as it is stored; it appears whole or not at all (IoError).
  virtual void save(const std::filesystem::path& file) const = 0;
  // Replaces the history by the file's, all or nothing. Throws ArtifactError when the file is damaged or was
  // saved under other settings.
  virtual void load(const std::filesystem::path& file) = 0;
};

// A linear transform in front of a code.
class Preconditioner {
 public:
  virtual ~Preconditioner() = default;
  virtual TransformResult apply(const Tensor& x) const = 0;
  // Gives back what apply() was given, up to rounding; the result has the element type that went in.
  virtual Tensor inverse(const TransformResult& result) const = 0;
  Tensor inverse(const Tensor& y) const { return inverse(TransformResult{y, {}, y.dtype()}); }
  // Transforms queries such that <apply_query(q), apply(k)> = <q, k>; by default the same map, which is right
  // for orthogonal transforms.
  virtual Tensor apply_query(const Tensor& q) const { return apply(q).output; }
};

// A finite set of reconstruction values.
class Codebook {
 public:
  virtual ~Codebook() = default;
  // x (floating, any shape) -> indices (one integer an element, not packed), the same shape.
  virtual Tensor quantize(const Tensor& x) const = 0;
  // Indices -> f32 values, the same shape. Throws NumericError for an index outside the codebook.
  virtual Tensor dequantize(const Tensor& indices) const = 0;
};

}  // namespace veloxquant
