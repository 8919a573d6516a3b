#include <fmt/format.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cmath>
#include <set>
#include <veloxquant/core/error.hpp>
#include <veloxquant/eval/activation_file.hpp>

#include "core/quote.hpp"

namespace veloxquant {
namespace {

constexpr const char* kActivationSchema = "veloxquant.activations/1";

std::string tensor_name(std::size_t window, int layer, const char* what) {
  return fmt::format("windows.{}.layers.{}.{}", window, layer, what);
}

}  // namespace

ActivationFile ActivationFile::open(const std::filesystem::path& path) {
  ActivationFile result(SafetensorsFile::open(path));
  const SafetensorsFile& file = result.file_;
  const auto fact = [&](const char* key) {
    const auto found = file.metadata().find(key);
    return found == file.metadata().end() ? std::string() : found->second;
  };
  if (fact("veloxquant.schema") != kActivationSchema) {
    throw ArtifactError("activations",
                        fmt::format("{} is not of the schema '{}'", file.name(), kActivationSchema));
  }
  result.config_ = ModelConfig::parse(fact("config"), file.name() + ", metadata 'config'");
  result.model_ = fact("model");
  const ModelConfig& config = result.config_;
  while (file.contains(tensor_name(result.windows_, 0, "keys"))) ++result.windows_;
  if (result.windows_ == 0)
    throw ArtifactError("activations",
                        fmt::format("{} has no tensor '{}'", file.name(), tensor_name(0, 0, "keys")));
  const Shape& first = file.tensors().at(tensor_name(0, 0, "keys")).shape;
  result.tokens_ = first.size() == 3 ? first[1] : 0;
  if (result.tokens_ < 1) {
    throw ArtifactError("activations", fmt::format("{}: '{}' is {}; it holds KV heads of one token or more",
                                                   file.name(), tensor_name(0, 0, "keys"), to_string(first)));
  }
  std::set<std::string> read;
  const auto require = [&](const std::string& name, const Shape& shape) {
    read.insert(name);
    const auto found = file.tensors().find(name);
    if (found == file.tensors().end())
      throw ArtifactError("activations", fmt::format("{} has no tensor '{}'", file.name(), name));
    const DType type = found->second.dtype;
    const bool served = type == DType::f32 || type == DType::f16 || type == DType::bf16;
    if (found->second.shape != shape || !served) {
      throw ArtifactError("activations",
                          fmt::format("{}: '{}' is {} {}, needs f32, f16 or bf16 {}", file.name(), name,
                                      to_string(type), to_string(found->second.shape), to_string(shape)));
    }
  };
  const std::int64_t n = result.tokens_, dim = config.head_dim;
  for (int layer = 0; layer < config.layers; ++layer) {
    for (std::size_t w = 0; w < result.windows_; ++w) {
      require(tensor_name(w, layer, "queries"), {config.heads, n, dim});
      require(tensor_name(w, layer, "keys"), {config.kv_heads, n, dim});
      require(tensor_name(w, layer, "values"), {config.kv_heads, n, dim});
      if (result.has_inputs()) require(tensor_name(w, layer, "input"), {n});
    }
    if (result.has_outputs())
      require(fmt::format("layers.{}.output", layer), {config.hidden, config.heads * dim});
  }
  for (const auto& [name, info] : file.tensors()) {
    if (!read.contains(name)) {
      throw ArtifactError("activations",
                          fmt::format("{}: {} is of no window (they count from 0 without a gap, here to {}) "
                                      "and of no layer of the config",
                                      file.name(), quote(name), result.windows_ - 1));
    }
  }
  return result;
}

Tensor ActivationFile::floats(const std::string& name, const Shape& shape) const {
  const Tensor tensor = file_.tensor(name).to(DType::f32).contiguous();
  if (tensor.shape() != shape)
    throw ArtifactError("activations", fmt::format("'{}' has another shape", name));
  const std::span<const float> values = tensor.span<const float>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i]))
      throw ArtifactError("activations",
                          fmt::format("{}: '{}' holds {} at index {}", file_.name(), name, values[i], i));
  }
  return tensor;
}

Tensor ActivationFile::queries(std::size_t window, int layer) const {
  return floats(tensor_name(window, layer, "queries"), {config_.heads, tokens_, config_.head_dim});
}
Tensor ActivationFile::keys(std::size_t window, int layer) const {
  return floats(tensor_name(window, layer, "keys"), {config_.kv_heads, tokens_, config_.head_dim});
}
Tensor ActivationFile::values(std::size_t window, int layer) const {
  return floats(tensor_name(window, layer, "values"), {config_.kv_heads, tokens_, config_.head_dim});
}

std::uint64_t ActivationFile::hash() const {
  const std::string config = file_.metadata().at("config");
  std::uint64_t hash = XXH3_64bits(config.data(), config.size());
  for (const auto& [name, info] : file_.tensors()) {
    const Tensor tensor = file_.tensor(name);
    const std::string head = fmt::format("{} {} {}", name, to_string(info.dtype), to_string(info.shape));
    hash = XXH3_64bits_withSeed(tensor.raw(), tensor.nbytes(), hash ^ XXH3_64bits(head.data(), head.size()));
  }
  return hash;
}

bool ActivationFile::has_inputs() const { return file_.contains(tensor_name(0, 0, "input")); }
bool ActivationFile::has_outputs() const { return file_.contains("layers.0.output"); }

double ActivationFile::input_square(std::size_t window, int layer) const {
  if (!has_inputs()) return 0;
  const Tensor squares = floats(tensor_name(window, layer, "input"), {tokens_});
  double sum = 0;
  for (const float square : squares.span<const float>()) sum += static_cast<double>(square);
  return sum / static_cast<double>(tokens_) * static_cast<double>(config_.hidden);
}

Tensor ActivationFile::output_projection(int layer) const {
  return floats(fmt::format("layers.{}.output", layer),
                {config_.hidden, std::int64_t{config_.heads} * config_.head_dim});
}

}  // namespace veloxquant
