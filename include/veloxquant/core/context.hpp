// The values that travel between the abstractions: what encoding made, where it happens, what a transform did.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include <veloxquant/core/tensor.hpp>

namespace veloxquant {

class ArtifactStore;
class KVCacheConfig;

// Facts that belong to one encoding, by name. Numbers and text describe it; tensors carry side data.
using EncodingMetadata = std::map<std::string, std::variant<std::int64_t, double, std::string, Tensor>>;

// The result of Quantizer::encode: packed codes and what decoding them needs.
//
// `indices` really is packed: u8 [batch, heads, seq, code bytes of one vector], in canonical order (the codes of
// a vector in coordinate order, least significant bit first). `scale` is f16 (u8 for gains) [batch, heads,
// seq, n] where n counts the scales (and biases) of one vector; absent when the code has none. Methods
// whose heads take unequal bytes lay both out otherwise (quantizers/vector_quantizer.hpp). `original_shape`
// is [batch, heads, seq, head_dim] and `dtype` the element type that came in; decode gives both back.
struct EncodedVector {
  Tensor indices;
  std::optional<Tensor> scale;
  EncodingMetadata metadata;
  Shape original_shape;
  DType dtype = DType::f32;

  // Bytes held by the indices, the scales and the tensors of the metadata.
  std::size_t nbytes() const noexcept;
};

// Where in a model and when in a generation a quantizer works. A quantizer that needs calibration finds it in
// `artifacts`; one whose transform depends on the position counts from `step`.
struct QuantizationContext {
  std::string layer_name;                          // "layers.3"
  std::int64_t step = 0;                           // position of the first vector, from 0
  std::shared_ptr<const KVCacheConfig> config;     // may be null outside a cache
  std::shared_ptr<const ArtifactStore> artifacts;  // null when there are none
};

// The result of Preconditioner::apply: the transformed vectors (f32, the shape of the input) and what the
// inverse needs to know about the input.
struct TransformResult {
  Tensor output;
  EncodingMetadata metadata;
  DType dtype = DType::f32;  // element type of the input, given back by the inverse
};

}  // namespace veloxquant
