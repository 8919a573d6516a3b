#include <fmt/format.h>

#include <map>
#include <set>
#include <utility>
#include <veloxquant/core/context.hpp>

#include "cache/cache_state.hpp"
#include "cache/coded_side.hpp"

namespace veloxquant {
namespace {

std::shared_ptr<const VectorQuantizer> make_method(const std::shared_ptr<const KVCacheConfig>& config,
                                                   int layer, Role role,
                                                   const std::shared_ptr<const ArtifactStore>& artifacts) {
  MethodSpec spec = config->method(layer, role);
  spec.options.context = std::make_shared<const QuantizationContext>(QuantizationContext{
      .layer_name = fmt::format("layers.{}", layer), .step = 0, .config = config, .artifacts = artifacts});
  return as_vector_quantizer(QuantizerFactory::create(spec.method, spec.options), role,
                             config->options().head_dim);
}

}  // namespace

LayerMethods make_methods(const std::shared_ptr<const KVCacheConfig>& config, int layer,
                          const std::shared_ptr<const ArtifactStore>& artifacts) {
  return {make_method(config, layer, Role::keys, artifacts),
          make_method(config, layer, Role::values, artifacts)};
}

std::vector<LayerMethods> make_layer_methods(const KVCacheConfig& config,
                                             std::shared_ptr<const ArtifactStore> artifacts) {
  const auto shared_config = std::make_shared<const KVCacheConfig>(config);
  // Artifacts are by layer, so that what reads them is made for every layer.
  std::map<std::pair<Role, std::string>, std::shared_ptr<const VectorQuantizer>> made;
  const auto method = [&](int layer, Role role) {
    const MethodSpec spec = shared_config->method(layer, role);
    if (artifacts && (spec.options.centre || QuantizerRegistry::info(spec.method).reads_artifacts))
      return make_method(shared_config, layer, role, artifacts);
    auto& shared = made[{role, spec.to_string()}];
    if (!shared) shared = make_method(shared_config, layer, role, artifacts);
    return shared;
  };
  std::vector<LayerMethods> layers;
  for (int layer = 0; layer < config.options().layers; ++layer) {
    auto keys = method(layer, Role::keys);
    LayerMethods methods{std::move(keys), method(layer, Role::values)};
    methods.kernels = std::make_shared<const LayerKernels>(methods, config.options().kv_heads);
    layers.push_back(std::move(methods));
  }
  return layers;
}

std::uint64_t method_bytes(std::span<const LayerMethods> layers) {
  std::set<const VectorQuantizer*> distinct;
  for (const LayerMethods& layer : layers) distinct.insert({layer.keys.get(), layer.values.get()});
  std::uint64_t bytes = 0;
  for (const VectorQuantizer* method : distinct) bytes += method->method_bytes();
  for (const LayerMethods& layer : layers) bytes += layer.kernels ? layer.kernels->keys.nbytes() : 0;
  return bytes;
}

std::vector<std::unique_ptr<PackedKVCache>> make_caches(std::shared_ptr<const KVCacheConfig> config,
                                                        std::shared_ptr<const ArtifactStore> artifacts,
                                                        std::shared_ptr<ThreadPool> pool) {
  std::vector<LayerMethods> methods = make_layer_methods(*config, std::move(artifacts));
  if (!pool) pool = default_thread_pool();
  std::vector<std::unique_ptr<PackedKVCache>> caches;
  caches.reserve(methods.size());
  for (int layer = 0; layer < config->options().layers; ++layer) {
    caches.push_back(std::make_unique<PackedKVCache>(
        config, layer, std::move(methods[static_cast<std::size_t>(layer)]), pool));
  }
  return caches;
}

}  // namespace veloxquant
