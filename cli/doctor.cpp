// `veloxquant doctor`: what this machine offers, and whether the kernels here agree with their definition.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>
#include <veloxquant/cache/packed_kv_cache.hpp>
#include <veloxquant/core/cpu.hpp>
#include <veloxquant/core/error.hpp>

#include "command.hpp"
#include "paths.hpp"

namespace veloxquant::cli {
namespace {

std::string first_line(const char* file) {
  std::ifstream stream(file);
  std::string line;
  return std::getline(stream, line) ? line : "unknown";
}

// Vectors that look like keys: many frequencies, no two alike. Any fixed data would do.
Tensor sample(std::int64_t tokens, int head_dim) {
  Tensor x = Tensor::empty({1, 2, tokens, head_dim}, DType::f32);
  std::uint64_t state = 1;
  for (float& v : x.span<float>()) {
    float sum = 0;
    for (int i = 0; i < 4; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      sum += static_cast<float>(state >> 40) / 16777216.0f - 0.5f;
    }
    v = sum * 1.7f;
  }
  return x;
}

// Largest difference between attention on the codes and plain attention on the decoded history.
double attention_difference(const PackedKVCache& cache, const Tensor& query) {
  const auto [keys, values] = cache.state();
  const Tensor out = cache.attend(query);
  const std::int64_t d = query.dim(3), n = cache.size();
  double worst = 0;
  for (std::int64_t h = 0; h < 2; ++h) {
    std::vector<double> weight(static_cast<std::size_t>(n));
    double top = -1e300, sum = 0;
    for (std::int64_t t = 0; t < n; ++t) {
      double dot = 0;
      for (std::int64_t c = 0; c < d; ++c) {
        dot += static_cast<double>(query.data<float>()[h * d + c]) * static_cast<double>(keys.data<float>()[(h * n + t) * d + c]);
      }
      weight[static_cast<std::size_t>(t)] = dot / std::sqrt(static_cast<double>(d));
      top = std::max(top, weight[static_cast<std::size_t>(t)]);
    }
    for (double& w : weight) sum += w = std::exp(w - top);
    for (std::int64_t c = 0; c < d; ++c) {
      double value = 0;
      for (std::int64_t t = 0; t < n; ++t) {
        value += weight[static_cast<std::size_t>(t)] / sum * static_cast<double>(values.data<float>()[(h * n + t) * d + c]);
      }
      worst = std::max(worst, std::fabs(value - static_cast<double>(out.data<float>()[h * d + c])));
    }
  }
  return worst;
}

int doctor() {
  fmt::print("veloxquant {}\n", VELOXQUANT_VERSION);
  fmt::print("CPU               {}\n", cpu_name());
  fmt::print("processors        {}\n", std::thread::hardware_concurrency());
  fmt::print("CPU level         {} (available: {})\n", cpu_level(), fmt::join(available_cpu_levels(), ", "));
  fmt::print("memory            {:.1f} GiB\n",
             static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 30));
  fmt::print("kernel            {}\n", first_line("/proc/version"));
  fmt::print("huge pages        {}\n", first_line("/sys/kernel/mm/transparent_hugepage/enabled"));
  std::string text;
  try {
    text = default_text().string();
  } catch (const Error&) {
    text = "not found (benchmark needs --text)";
  }
  fmt::print("sample text       {}\n\n", text);

  // Every CPU level must make the same codes, and attention on them must agree with the decoded history.
  fmt::print("self-check: 300 tokens, 2 heads of 128; codes on every CPU level, attention against the decoded history\n");
  constexpr int kHeadDim = 128;
  const Tensor x = sample(300, kHeadDim), query = sample(1, kHeadDim);
  bool good = true;
  const std::string level_before = cpu_level();
  for (const char* method : {"fp16", "fp8", "q8_0", "q4_0", "affine:4", "turboquant_mse:4", "turboquant_mse:2", "trellis:3", "trellis:2"}) {
    KVCacheOptions options;
    options.kv_heads = 2;
    options.head_dim = kHeadDim;
    options.keys = options.values = MethodSpec::parse(method);
    const auto config = std::make_shared<const KVCacheConfig>(options);
    const auto quantizer = make_layer_methods(*config)[0].keys;
    Tensor codes;
    bool same = true;
    double worst = 0;
    for (const std::string& level : available_cpu_levels()) {
      set_cpu_level(level);
      PackedKVCache cache(config, 0);
      cache.append(x);
      worst = std::max(worst, attention_difference(cache, query));
      const Tensor here = quantizer->encode(x).indices;
      if (!codes.defined()) codes = here;
      same = same && std::memcmp(codes.raw(), here.raw(), here.nbytes()) == 0;
    }
    set_cpu_level(level_before);
    const bool row_good = same && worst < 1e-4;
    good = good && row_good;
    fmt::print("  {:18}codes {}, attention differs by at most {:.1e}  {}\n", method, same ? "equal" : "DIFFER", worst,
               row_good ? "good" : "BAD");
  }
  fmt::print("{}\n", good ? "all good" : "the kernels on this CPU disagree with their definition; please report it with this output");
  return good ? kDone : kGateFailed;
}

}  // namespace

void add_doctor(Commands& commands) {
  commands.add("doctor", "What this machine offers, and a check of the kernels on it", [] { return doctor(); });
}

}  // namespace veloxquant::cli
