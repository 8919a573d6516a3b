// Time to code one vector of 128 coordinates by each method: transform, scale and codes.
#include <benchmark/benchmark.h>

#include <cmath>
#include <random>
#include <vector>
#include <veloxquant/core/config.hpp>
#include <veloxquant/quantizers/vector_quantizer.hpp>

namespace veloxquant {
namespace {

constexpr int kHeadDim = 128;
constexpr std::size_t kVectors = 1024;  // enough that no run sees the same data twice in a row

std::vector<float> gaussian_rows() {
  std::mt19937_64 generator(1);
  std::normal_distribution<float> normal;
  std::vector<float> rows(kVectors * kHeadDim);
  for (float& x : rows) x = normal(generator);
  return rows;
}

void encode(benchmark::State& state, const std::string& method) {
  MethodSpec spec = MethodSpec::parse(method);
  spec.options.head_dim = kHeadDim;
  const auto quantizer =
      as_vector_quantizer(QuantizerFactory::create(spec.method, spec.options), Role::keys, kHeadDim);
  const std::vector<float> rows = gaussian_rows();
  std::vector<std::uint8_t> codes(kVectors * quantizer->code_bytes(0)),
      scales(kVectors * quantizer->scale_bytes(0) + 1);
  for (auto _ : state) {
    quantizer->encode_rows(rows.data(), kVectors, 0, codes.data(), scales.data());
    benchmark::DoNotOptimize(codes.data());
    benchmark::ClobberMemory();
  }
  state.counters["us_per_vector"] =
      benchmark::Counter(static_cast<double>(kVectors) * 1e-6,
                         benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

const bool kRegistered = [] {
  for (const char* method :
       {"fp16", "fp8", "q8_0", "q4_0:4:transform=hadamard", "affine:4", "turboquant_mse:2",
        "turboquant_mse:3", "turboquant_mse:4", "turboquant_mse:8", "turboquant_mse:4:transform=haar",
        "trellis:1", "trellis:2", "trellis:3", "trellis:4", "rabitq:1", "rabitq:2", "rabitq:4", "rabitq:8"}) {
    benchmark::RegisterBenchmark((std::string("encode/") + method).c_str(), [method](
                                                                                benchmark::State& state) {
      encode(state, method);
    })->Unit(benchmark::kMicrosecond);
  }
  return true;
}();

}  // namespace
}  // namespace veloxquant
