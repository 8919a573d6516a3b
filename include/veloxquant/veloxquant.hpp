// VeloxQuant: key/value cache compression for large language models, with attention on the packed codes.
//
//     auto config = std::make_shared<const KVCacheConfig>(KVCacheOptions{
//         .layers = 32, .kv_heads = 8, .head_dim = 128,
//         .keys = MethodSpec::parse("turboquant_mse:4"), .values = MethodSpec::parse("trellis:2")});
//     auto caches = make_caches(config);               // one per layer
//     caches[0]->append(keys, values);                 // [batch, kv_heads, new, head_dim]; packed at once
//     Tensor out = caches[0]->attend(queries);         // [batch, query_heads, new, head_dim]; on the codes
//
// This header brings in the core: tensors, quantizers, caches, attention. The model runner and the measuring room
// (models/, eval/) have headers of their own and a library of their own.
#pragma once

#include <veloxquant/attention/arithmetic.hpp>
#include <veloxquant/attention/mask.hpp>
#include <veloxquant/cache/packed_kv_cache.hpp>
#include <veloxquant/codebook/lloyd_max.hpp>
#include <veloxquant/codebook/trellis_codebook.hpp>
#include <veloxquant/codebook/uniform.hpp>
#include <veloxquant/core/abstractions.hpp>
#include <veloxquant/core/artifact_store.hpp>
#include <veloxquant/core/config.hpp>
#include <veloxquant/core/context.hpp>
#include <veloxquant/core/cpu.hpp>
#include <veloxquant/core/error.hpp>
#include <veloxquant/core/registry.hpp>
#include <veloxquant/core/tensor.hpp>
#include <veloxquant/core/thread_pool.hpp>
#include <veloxquant/core/version.hpp>
#include <veloxquant/quantizers/code_spec.hpp>
#include <veloxquant/quantizers/vector_quantizer.hpp>
#include <veloxquant/search/key_search.hpp>
#include <veloxquant/search/neighbours.hpp>
#include <veloxquant/search/rabitq_index.hpp>
#include <veloxquant/transform/centring.hpp>
#include <veloxquant/transform/hadamard.hpp>
#include <veloxquant/transform/rotation.hpp>
#include <veloxquant/transform/row_transform.hpp>
