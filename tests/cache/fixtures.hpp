// Caches, vectors and the plain computations that the tests of this folder compare with.
#pragma once

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <vector>
#include <veloxquant/cache/packed_kv_cache.hpp>
#include <veloxquant/core/error.hpp>

namespace veloxquant::testing {

inline Tensor random_vectors(Shape shape, unsigned seed, float spread = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, spread);
  Tensor x = Tensor::empty(std::move(shape), DType::f32);
  for (float& value : x.span<float>()) value = normal(generator);
  return x;
}

struct CacheSetup {
  std::string keys = "turboquant_mse:4", values = "turboquant_mse:4";
  int batch = 1, kv_heads = 2, head_dim = 64;
  std::int64_t sinks = 0, recent = 0;
};

inline KVCacheOptions options_of(const CacheSetup& s) {
  KVCacheOptions o;
  o.kv_heads = s.kv_heads;
  o.head_dim = s.head_dim;
  o.batch = s.batch;
  o.keys = MethodSpec::parse(s.keys);
  o.values = MethodSpec::parse(s.values);
  o.sinks = s.sinks;
  o.recent = s.recent;
  return o;
}

inline PackedKVCache cache_with(const KVCacheOptions& options, std::shared_ptr<ThreadPool> pool = {}) {
  return PackedKVCache(std::make_shared<const KVCacheConfig>(options), 0,
                       std::shared_ptr<const ArtifactStore>(), pool);
}
inline PackedKVCache make_cache(const CacheSetup& setup, std::shared_ptr<ThreadPool> pool = {}) {
  return cache_with(options_of(setup), std::move(pool));
}

// A file that goes away with the object.
class TemporaryFile {
 public:
  TemporaryFile() {
    static int count = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("veloxquant_cache_" + std::to_string(::getpid()) + "_" + std::to_string(count++));
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::string bytes() const {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  std::filesystem::path path_;
};

// All that a cache contains, as the bytes of its file.
inline std::string bytes_of(const PackedKVCache& cache) {
  const TemporaryFile file;
  cache.save(file.path());
  return file.bytes();
}

// Appends tokens [begin, end) of x in pieces.
inline void append_in_pieces(PackedKVCache& cache, const Tensor& keys, const Tensor& values,
                             std::int64_t piece) {
  for (std::int64_t begin = 0; begin < keys.dim(2); begin += piece) {
    const std::int64_t end = std::min(begin + piece, keys.dim(2));
    cache.append(keys.slice(2, begin, end), values.slice(2, begin, end));
  }
}

inline bool same_floats(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) return false;
  const auto x = a.contiguous().to(DType::f32), y = b.contiguous().to(DType::f32);
  return std::equal(x.span<float>().begin(), x.span<float>().end(), y.span<float>().begin());
}

// Attention by its definition, in double, on the dequantized history; row b has lengths[b] queries and
// sizes[b] tokens.
inline std::vector<double> plain_attention(const PackedKVCache& cache, const Tensor& queries,
                                           const std::vector<std::int64_t>& lengths, double scale,
                                           const AttentionMask& mask) {
  const auto [keys, values] = cache.state();
  const std::int64_t heads = queries.dim(1), count = queries.dim(2), d = queries.dim(3),
                     kv_heads = keys.dim(1);
  if (scale == 0) scale = 1 / std::sqrt(static_cast<double>(d));
  std::vector<double> out(static_cast<std::size_t>(queries.numel()), 0.0);
  const auto vector = [d](const Tensor& t, std::int64_t b, std::int64_t h, std::int64_t i) {
    return t.data<float>() + ((b * t.dim(1) + h) * t.dim(2) + i) * d;
  };
  for (std::int64_t b = 0; b < queries.dim(0); ++b) {
    const std::int64_t size = cache.size(static_cast<int>(b)), length = lengths[static_cast<std::size_t>(b)];
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t kv = h / (heads / kv_heads);
      for (std::int64_t i = 0; i < length; ++i) {
        const std::int64_t index = size - length + i;
        const std::int64_t end = mask.causal ? index + 1 : size;
        const std::int64_t begin = mask.window > 0 ? std::max<std::int64_t>(0, index + 1 - mask.window) : 0;
        const float* q = vector(queries, b, h, i);
        std::vector<double> score;
        double highest = -INFINITY, sum = 0;
        for (std::int64_t j = begin; j < end; ++j) {
          double product = 0;
          for (std::int64_t c = 0; c < d; ++c) product += double{q[c]} * double{vector(keys, b, kv, j)[c]};
          score.push_back(product * scale);
          highest = std::max(highest, score.back());
        }
        double* to = out.data() + ((b * heads + h) * count + i) * d;
        for (std::int64_t j = begin; j < end; ++j) {
          const double weight = std::exp(score[static_cast<std::size_t>(j - begin)] - highest);
          sum += weight;
          for (std::int64_t c = 0; c < d; ++c) to[c] += weight * double{vector(values, b, kv, j)[c]};
        }
        for (std::int64_t c = 0; c < d; ++c) to[c] /= sum;
      }
    }
  }
  return out;
}

// Largest difference relative to the largest value.
inline double relative_error(const Tensor& have, const std::vector<double>& want) {
  double largest = 0, worst = 0;
  const auto values = have.span<float>();
  for (std::size_t i = 0; i < want.size(); ++i) {
    largest = std::max(largest, std::abs(want[i]));
    const double off = std::abs(double{values[i]} - want[i]);
    worst = off >= worst || std::isnan(off) ? off : worst;
  }
  return largest == 0 ? worst : worst / largest;
}

// What() of the error of the given type that `call` must throw; empty when it does not.
template <class E, class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const E& e) {
    return e.what();
  }
  return {};
}

}  // namespace veloxquant::testing
