#include "measure.hpp"

#include <algorithm>

namespace veloxquant::bench {
namespace {

constexpr double kShortestSample = 0.2;  // seconds: many ticks of the system's clock of busy time

// Another query for every step, as in a model.
class Queries {
 public:
  explicit Queries(const LayerShape& shape) : all_(noise({kCount, shape.q_heads, 1, shape.head_dim}, 3)) {}
  Tensor next() {
    next_ = (next_ + 1) % kCount;
    return all_.slice(0, next_, next_ + 1);
  }

 private:
  static constexpr std::int64_t kCount = 61;
  Tensor all_;
  std::int64_t next_ = 0;
};

// Runs `work` for at least kShortestSample and returns the seconds that one run took.
template <class Work>
double seconds_per_run(const Work& work) {
  const Stopwatch watch;
  int runs = 0;
  do {
    work();
    ++runs;
  } while (watch.seconds() < kShortestSample);
  return watch.seconds() / runs;
}

}  // namespace

const std::shared_ptr<ThreadPool>& Measurer::pool(int threads) {
  std::shared_ptr<ThreadPool>& pool = pools_[threads];
  if (!pool) pool = std::make_shared<ThreadPool>(threads);
  return pool;
}

DecodeRow Measurer::decode(CacheMaker& maker, const LayerShape& shape, std::int64_t tokens, int threads) {
  DecodeRow row;
  row.shape = shape;
  row.tokens = tokens;
  row.threads = threads;
  std::vector<CachePtr> layers = maker.filled(tokens, 1, pool(threads));
  const std::size_t bytes = layers[0]->coded_bytes();
  const std::size_t count = (options_.sweep_bytes + bytes - 1) / bytes;
  for (CachePtr& cache : maker.filled(tokens, count - 1, pool(threads))) layers.push_back(std::move(cache));
  row.bytes_per_token = static_cast<double>(bytes) / static_cast<double>(tokens);

  Queries queries(shape);
  const auto sweep = [&] {
    for (const CachePtr& layer : layers) layer->attend(queries.next());
  };
  sweep();  // first use of scratch memory and of every page
  const Samples samples = take_samples(options_.samples, [&]() -> std::vector<double> {
    // A limit is the fastest that was seen: some milliseconds go by before the system has threads that slept on
    // processors of their own.
    double stream = 0;
    for (int i = 0; i < 4; ++i) stream = std::max(stream, stream_.read(*pool(threads)));
    return {seconds_per_run(sweep) / static_cast<double>(count), stream};
  });
  const double seconds = samples.median_of(0);
  row.ms = 1e3 * seconds;
  row.gb_per_s = 1e-9 * static_cast<double>(bytes) / seconds;
  row.stream_gb_per_s = 1e-9 * samples.median_of(1);
  row.clean = samples.clean;
  row.taken = samples.taken;
  return row;
}

PrefillRow Measurer::prefill(CacheMaker& maker, const LayerShape& shape, std::int64_t tokens,
                             std::int64_t new_tokens, int threads) {
  PrefillRow row;
  row.shape = shape;
  row.tokens = tokens;
  row.new_tokens = new_tokens;
  row.threads = threads;
  const CachePtr cache = std::move(maker.filled(tokens, 1, pool(threads))[0]);
  const Tensor queries = noise({1, shape.q_heads, new_tokens, shape.head_dim}, 4);
  const Tensor keys = noise({1, shape.kv_heads, new_tokens, shape.head_dim}, 5);
  const Tensor values = noise({1, shape.kv_heads, new_tokens, shape.head_dim}, 6);
  const Samples samples = take_samples(std::min(options_.samples, 3), [&]() -> std::vector<double> {
    const Stopwatch append_watch;
    cache->append(keys, values);
    const double append = append_watch.seconds();
    const Stopwatch attend_watch;
    cache->attend(queries);
    const double attend = attend_watch.seconds();
    cache->trim(new_tokens);
    return {append, attend};
  });
  row.append_ms = 1e3 * samples.median_of(0);
  row.attend_ms = 1e3 * samples.median_of(1);
  row.clean = samples.clean;
  row.taken = samples.taken;
  return row;
}

AppendRow Measurer::append(CacheMaker& maker, const LayerShape& shape) {
  constexpr std::int64_t kChunk = 512;
  AppendRow row;
  row.shape = shape;
  const Tensor keys = noise({1, shape.kv_heads, kChunk, shape.head_dim}, 7);
  const Tensor values = noise({1, shape.kv_heads, kChunk, shape.head_dim}, 8);
  const double vectors = 2.0 * shape.kv_heads * kChunk;
  const CachePtr cache = maker.empty(pool(1));
  const Samples samples = take_samples(options_.samples, [&]() -> std::vector<double> {
    const double chunk = seconds_per_run([&] {
      cache->append(keys, values);
      cache->trim(kChunk);
    });
    const double single = seconds_per_run([&] {
      for (std::int64_t t = 0; t < kChunk; ++t)
        cache->append(keys.slice(2, t, t + 1), values.slice(2, t, t + 1));
      cache->trim(kChunk);
    });
    return {chunk / vectors, single / vectors};
  });
  row.us_per_vector_chunk = 1e6 * samples.median_of(0);
  row.us_per_vector_single = 1e6 * samples.median_of(1);
  row.clean = samples.clean;
  row.taken = samples.taken;
  return row;
}

}  // namespace veloxquant::bench
