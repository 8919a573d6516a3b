// Activations of a model that ran elsewhere, for calibration without running it here: one safetensors file, as
// tools/export_activations.py writes it.
//
// Metadata
//     veloxquant.schema    "veloxquant.activations/1"
//     config               the model's config.json: heads, head size, rotary embedding (scaling included), windows
//     model                what the artifacts are bound to: the fingerprint that `veloxquant inspect` shows, or what
//                          the engine says in KVCacheOptions::model; may be left out
//
// Tensors, f32, f16 or bf16, of window w (0, 1, ...; token 0 is the first of a text) and layer l
//     windows.<w>.layers.<l>.queries   [heads, n, head_dim]      before the rotary embedding, after a norm of queries
//     windows.<w>.layers.<l>.keys      [kv_heads, n, head_dim]   likewise
//     windows.<w>.layers.<l>.values    [kv_heads, n, head_dim]
//     windows.<w>.layers.<l>.input     [n]                       mean over the channels of the squared layer input;
//                                                                may be left out
//     layers.<l>.output                [hidden, heads * head_dim]   weights of the output projection; may be left out
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <veloxquant/io/safetensors.hpp>
#include <veloxquant/models/model_config.hpp>

namespace veloxquant {

class ActivationFile {
 public:
  // Throws ArtifactError for a file of another schema, without a window, or with tensors of other shapes than the
  // config says; ModelError for a config that is not served; IoError.
  static ActivationFile open(const std::filesystem::path& file);

  const std::string& name() const noexcept { return file_.name(); }
  const ModelConfig& config() const noexcept { return config_; }
  const std::string& model() const noexcept { return model_; }
  std::size_t windows() const noexcept { return windows_; }
  std::int64_t tokens() const noexcept { return tokens_; }  // of every window
  std::uint64_t hash() const;  // over the config and all tensors with their elements, which it reads

  // f32, contiguous. Throws ArtifactError for values that are not finite.
  Tensor queries(std::size_t window, int layer) const;
  Tensor keys(std::size_t window, int layer) const;
  Tensor values(std::size_t window, int layer) const;
  // Mean over the tokens of the squared norm of the layer's input; 0 where the file does not say.
  double input_square(std::size_t window, int layer) const;
  bool has_inputs() const;
  bool has_outputs() const;
  Tensor output_projection(int layer) const;

 private:
  explicit ActivationFile(SafetensorsFile file) : file_(std::move(file)) {}
  Tensor floats(const std::string& name, const Shape& shape) const;

  SafetensorsFile file_;
  ModelConfig config_;
  std::string model_;
  std::size_t windows_ = 0;
  std::int64_t tokens_ = 0;
};

}  // namespace veloxquant
