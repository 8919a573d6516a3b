// Trellis codes alone: a vector of unit variance to its code and back, on one thread.
#include <benchmark/benchmark.h>

#include <cmath>
#include <initializer_list>
#include <random>
#include <utility>
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

// Strings over several widths, as the budgets of spectral give them, with weights that fall within each run.
const std::vector<TrellisRun>& string_number(std::int64_t i) {
  static const std::vector<std::vector<TrellisRun>> strings = [] {
    const auto runs = [](std::initializer_list<std::pair<int, int>> widths) {
      std::vector<TrellisRun> made;
      for (const auto& [bits, count] : widths) made.push_back({&trellis_table(bits), count});
      return made;
    };
    return std::vector<std::vector<TrellisRun>>{runs({{4, 16}, {3, 24}, {2, 40}, {1, 24}}),
                                                runs({{4, 8}, {3, 16}, {2, 24}, {1, 16}}),
                                                runs({{3, 8}, {2, 16}, {1, 16}})};
  }();
  return strings[static_cast<std::size_t>(i)];
}

void string_encoding(benchmark::State& state) {
  const std::vector<TrellisRun>& runs = string_number(state.range(0));
  const auto n = static_cast<std::size_t>(trellis_length(runs));
  const Data data(1, trellis_length(runs));
  std::vector<std::int16_t> weights;
  for (const TrellisRun& run : runs) {
    for (int t = 0; t < run.count; ++t)
      weights.push_back(static_cast<std::int16_t>(32767 * std::exp2(-1.0 * t / run.count)));
  }
  std::vector<std::uint8_t> codes(trellis_code_bytes(runs));
  std::size_t v = 0;
  for (auto _ : state) {
    trellis_encode(runs, weights.data(), &data.z[v * n], 1, codes.data());
    benchmark::DoNotOptimize(codes.data());
    benchmark::ClobberMemory();
    v = (v + 1) % kVectors;
  }
  count_vectors(state);
}

void widths(benchmark::internal::Benchmark* benchmark) {
  for (const int bits : {1, 2, 3, 4}) benchmark->Args({bits, 128});
  benchmark->Args({2, 64})->Args({2, 256});
  benchmark->ArgNames({"bits", "n"});
}

BENCHMARK(trellis_encoding)->Apply(widths);
BENCHMARK(trellis_decoding)->Apply(widths);
BENCHMARK(string_encoding)->Arg(0)->Arg(1)->Arg(2)->ArgNames({"string"});

}  // namespace
}  // namespace veloxquant
