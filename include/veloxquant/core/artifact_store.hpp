// ArtifactStore: what calibration found out about a model, by name.
//
// A store is a set of named tensors and text facts, kept in one safetensors file with a checksum. Methods look
// their tensors up through QuantizationContext::artifacts; a tensor that is not there is an ArtifactError that
// says which method asked for which name. Names are "<layer>.<keys|values>.<what>", for example
// "layers.3.keys.mean" (f32 [kv_heads, head_dim]), the per-head mean that centring subtracts.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include <veloxquant/core/tensor.hpp>

namespace veloxquant {

class ArtifactStore {
 public:
  // Replaces what was there under that name. The tensor is kept as a view: do not write to it afterwards.
  void put(const std::string& name, Tensor tensor);
  void set_fact(const std::string& name, std::string value);

  bool contains(const std::string& name) const;
  // Throws ArtifactError naming `user` (the method that asks) and the missing tensor.
  const Tensor& get(const std::string& name, const std::string& user) const;
  // The same, contiguous; throws ArtifactError, naming the tensor and the index, unless it is f32 of this
  // shape and all of it is finite and of a size that products of the library can bear (2^40).
  Tensor floats(const std::string& name, const std::string& user, const Shape& shape) const;
  const std::map<std::string, Tensor>& tensors() const noexcept { return tensors_; }
  const std::map<std::string, std::string>& facts() const noexcept { return facts_; }
  std::size_t nbytes() const noexcept;

  // One sealed safetensors file; written atomically, refused when a single bit differs.
  void save(const std::filesystem::path& file) const;
  static ArtifactStore load(const std::filesystem::path& file);

 private:
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> facts_;
};

}  // namespace veloxquant
