// Trellis codes alone: a vector of unit variance to its code and back, on one thread.
#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include "codebook/trellis.hpp"

namespace veloxquant {
namespace {

constexpr std::size_t kVectors = 1024;  // enough that no branch predictor learns the data by heart

struct Data {
  Data(int bits, int n)
      : table(trellis_table(bits)),
        z(kVectors * static_cast<std::size_t>(n)),
        y(static_cast<std::size_t>(n)) {
    std::mt19937_64 random(1);
    std::normal_distribution<float> normal;
    for (float& value : z) value = normal(random);
    codes.resize(kVectors * trellis_code_bytes(n, bits));
  }

  const TrellisTable& table;
  std::vector<float> z;
  std::vector<float> y;
  std::vector<std::uint8_t> codes;
};

void count_vectors(benchmark::State& state) {
  state.counters["us_per_vector"] =
      benchmark::Counter(1e-6, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void trellis_encoding(benchmark::State& state) {
  const int bits = static_cast<int>(state.range(0));
  const int n = static_cast<int>(state.range(1));
  Data data(bits, n);
  std::size_t v = 0;
  for (auto _ : state) {
    trellis_encode(data.table, &data.z[v * static_cast<std::size_t>(n)], n, data.codes.data());
    benchmark::DoNotOptimize(data.codes.data());
    benchmark::ClobberMemory();
    v = (v + 1) % kVectors;
  }
  count_vectors(state);
}

void trellis_decoding(benchmark::State& state) {
  const int bits = static_cast<int>(state.range(0));
  const int n = static_cast<int>(state.range(1));
  Data data(bits, n);
  const std::size_t bytes = trellis_code_bytes(n, bits);
  for (std::size_t v = 0; v < kVectors; ++v) {
    trellis_encode(data.table, &data.z[v * static_cast<std::size_t>(n)], n, &data.codes[v * bytes]);
  }
  std::size_t v = 0;
  for (auto _ : state) {
    trellis_decode(data.table, &data.codes[v * bytes], n, data.y.data());
    benchmark::DoNotOptimize(data.y.data());
    benchmark::ClobberMemory();
    v = (v + 1) % kVectors;
  }
  count_vectors(state);
}

void widths(benchmark::internal::Benchmark* benchmark) {
  for (const int bits : {1, 2, 3, 4}) benchmark->Args({bits, 128});
  benchmark->Args({2, 64})->Args({2, 256});
  benchmark->Args({4, 16})->Args({3, 32})->Args({2, 48});  // runs of a vector of mixed widths
  benchmark->ArgNames({"bits", "n"});
}

BENCHMARK(trellis_encoding)->Apply(widths);
BENCHMARK(trellis_decoding)->Apply(widths);

}  // namespace
}  // namespace veloxquant
