#include "filled_cache.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <random>
#include <system_error>
#include <veloxquant/core/error.hpp>

#include "framed_artifacts.hpp"

namespace veloxquant::bench {
namespace {

constexpr std::int64_t kPiece = 2048;  // tokens; longer contexts repeat them

// In memory where the system has such a folder.
std::filesystem::path make_folder() {
  std::error_code ignored;
  const std::filesystem::path memory = "/dev/shm";
  const auto parent =
      std::filesystem::is_directory(memory, ignored) ? memory : std::filesystem::temp_directory_path();
  std::string name = (parent / "veloxquant-bench-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::generic_category(), name);
  return name;
}

}  // namespace

LayerShape LayerShape::parse(const std::string& text) {
  LayerShape shape;
  char rest = 0;
  const int read =
      std::sscanf(text.c_str(), "%d/%dx%d%c", &shape.q_heads, &shape.kv_heads, &shape.head_dim, &rest);
  if (read != 3 || shape.kv_heads < 1 || shape.q_heads < 1 || shape.q_heads % shape.kv_heads != 0) {
    throw ConfigError(
        "bench", fmt::format("'{}' is no shape; write query heads/KV heads x head size, as 32/8x128", text));
  }
  return shape;
}

std::string LayerShape::to_string() const { return fmt::format("{}/{}x{}", q_heads, kv_heads, head_dim); }

Tensor noise(Shape shape, std::uint64_t seed) {
  Tensor tensor = Tensor::empty(std::move(shape), DType::f32);
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  for (float& value : tensor.span<float>()) value = normal(random);
  return tensor;
}

CacheMaker::CacheMaker(const Pair& pair, const LayerShape& shape)
    : all_processors_(std::make_shared<ThreadPool>(0)) {
  KVCacheOptions options;
  options.kv_heads = shape.kv_heads;
  options.head_dim = shape.head_dim;
  options.keys = method_of(pair.keys);
  options.values = method_of(pair.values);
  std::shared_ptr<const ArtifactStore> artifacts;
  if (const std::int64_t frame = frame_of(pair.keys); frame > 0) {
    options.rope = RopeConfig{.rotary_dim = shape.head_dim};
    artifacts = framed_artifacts(shape, *options.rope, frame,
                                 has_scalar_runs(pair.keys) ? RunCode::scalar : RunCode::trellis);
  }
  config_ = std::make_shared<const KVCacheConfig>(std::move(options));
  methods_ = make_layer_methods(*config_, artifacts).front();
}

CacheMaker::~CacheMaker() {
  if (saved_ >= 0) close(saved_);
}

CachePtr CacheMaker::empty(std::shared_ptr<ThreadPool> pool) const {
  return std::make_unique<PackedKVCache>(config_, 0, methods_, std::move(pool));
}

void CacheMaker::save(std::int64_t tokens) {
  if (saved_tokens_ == tokens) return;
  if (!source_) source_ = empty(all_processors_);
  const KVCacheOptions& o = config_->options();
  if (source_->size() < tokens) {
    const Shape shape = {1, o.kv_heads, std::min(kPiece, tokens), o.head_dim};
    const Tensor keys = noise(shape, 1), values = noise(shape, 2);
    while (source_->size() < tokens) {
      const std::int64_t count = std::min(shape[2], tokens - source_->size());
      source_->append(keys.slice(2, 0, count), values.slice(2, 0, count));
    }
  }
  const std::unique_ptr<KVCache> prefix = source_->clone();
  prefix->trim(source_->size() - tokens);
  const std::filesystem::path folder = make_folder(), file = folder / "cache";
  static_cast<const PackedKVCache&>(*prefix).save(file);
  if (saved_ >= 0) close(saved_);
  saved_ = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  const int error = errno;
  std::filesystem::remove_all(folder);
  if (saved_ < 0) throw std::system_error(error, std::generic_category(), file.string());
  saved_tokens_ = tokens;
}

std::vector<CachePtr> CacheMaker::filled(std::int64_t tokens, std::size_t count,
                                         const std::shared_ptr<ThreadPool>& pool) {
  save(tokens);
  const std::filesystem::path file = fmt::format("/proc/self/fd/{}", saved_);
  std::vector<CachePtr> caches(count);
  all_processors_->parallel_for(count, [&](std::size_t i, int) {
    caches[i] = empty(pool);
    caches[i]->load(file);
  });
  return caches;
}

}  // namespace veloxquant::bench
