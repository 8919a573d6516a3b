// `veloxquant doctor`: what this machine offers, and whether the kernels here agree with their definition.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>
#include <veloxquant/attention/arithmetic.hpp>
#include <veloxquant/cache/packed_kv_cache.hpp>
#include <veloxquant/core/cpu.hpp>
#include <veloxquant/core/error.hpp>

#include "command.hpp"
#include "json_text.hpp"
#include "machine_facts.hpp"
#include "paths.hpp"

namespace veloxquant::cli {
namespace {

constexpr int kTokens = 300, kHeads = 2, kHeadDim = 128;

// Vectors that look like keys: many frequencies, no two alike. Any fixed data would do.
Tensor sample(std::int64_t tokens, int head_dim) {
  Tensor x = Tensor::empty({1, kHeads, tokens, head_dim}, DType::f32);
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
  for (std::int64_t h = 0; h < kHeads; ++h) {
    std::vector<double> weight(static_cast<std::size_t>(n));
    double top = -1e300, sum = 0;
    for (std::int64_t t = 0; t < n; ++t) {
      double dot = 0;
      for (std::int64_t c = 0; c < d; ++c) {
        dot += static_cast<double>(query.data<float>()[h * d + c]) *
               static_cast<double>(keys.data<float>()[(h * n + t) * d + c]);
      }
      weight[static_cast<std::size_t>(t)] = dot / std::sqrt(static_cast<double>(d));
      top = std::max(top, weight[static_cast<std::size_t>(t)]);
    }
    for (double& w : weight) sum += w = std::exp(w - top);
    for (std::int64_t c = 0; c < d; ++c) {
      double value = 0;
      for (std::int64_t t = 0; t < n; ++t) {
        value += weight[static_cast<std::size_t>(t)] / sum *
                 static_cast<double>(values.data<float>()[(h * n + t) * d + c]);
      }
      worst = std::max(worst, std::fabs(value - static_cast<double>(out.data<float>()[h * d + c])));
    }
  }
  return worst;
}

// Empty where none came with the command: then `benchmark` needs --text.
std::string sample_text() {
  try {
    return default_text().string();
  } catch (const Error&) {
    return "";
  }
}

struct MethodCheck {
  std::string method;
  std::string attention;   // how it reads the codes here
  bool same_codes = true;  // on every CPU level
  double precise = 0;      // largest difference of attention, over the levels
  double fast = 0;         // the same in the fast arithmetic
  // Rounding to 8 bits loses little beside the codes: a tenth of a standard deviation of the values would not
  // be little.
  bool good() const { return same_codes && precise < 1e-4 && fast < 0.1; }
};

MethodCheck check_method(const char* method, const Tensor& x, const Tensor& query) {
  KVCacheOptions options;
  options.kv_heads = static_cast<int>(x.dim(1));
  options.head_dim = static_cast<int>(x.dim(3));
  options.keys = options.values = MethodSpec::parse(method);
  const auto config = std::make_shared<const KVCacheConfig>(options);
  const LayerMethods methods = make_layer_methods(*config)[0];
  const std::string level_before = cpu_level();
  const AttentionArithmetic arithmetic_before = attention_arithmetic();
  MethodCheck check{.method = method, .attention = attention_path(methods, options.kv_heads)};
  Tensor codes;
  for (const std::string& level : available_cpu_levels()) {
    set_cpu_level(level);
    PackedKVCache cache(config, 0);
    cache.append(x);
    set_attention_arithmetic(AttentionArithmetic::precise);
    check.precise = std::max(check.precise, attention_difference(cache, query));
    set_attention_arithmetic(AttentionArithmetic::fast);
    check.fast = std::max(check.fast, attention_difference(cache, query));
    const Tensor here = methods.keys->encode(x).indices;
    if (!codes.defined()) codes = here;
    check.same_codes = check.same_codes && std::memcmp(codes.raw(), here.raw(), here.nbytes()) == 0;
  }
  set_cpu_level(level_before);
  set_attention_arithmetic(arithmetic_before);
  return check;
}

void print_table(const MachineFacts& machine, const std::vector<MethodCheck>& checks, bool good) {
  const std::string text = sample_text();
  fmt::print("veloxquant {}, built by {}\n", machine.version, machine.compiler);
  fmt::print("CPU               {}\n", machine.cpu);
  fmt::print("processors        {}\n", machine.processors);
  fmt::print("CPU level         {} (available: {})\n", machine.level, fmt::join(machine.levels, ", "));
  fmt::print("attention         {} arithmetic (VELOXQUANT_ARITHMETIC)\n", to_string(attention_arithmetic()));
  fmt::print("memory            {:.1f} GiB\n", static_cast<double>(machine.memory_bytes) / (1 << 30));
  fmt::print("kernel            {}\n", machine.kernel);
  fmt::print("huge pages        {}\n", machine.huge_pages);
  fmt::print("sample text       {}\n\n", text.empty() ? "not found (benchmark needs --text)" : text);
  fmt::print(
      "self-check: {} tokens, {} heads of {}; codes on every CPU level, attention against the decoded "
      "history\n",
      kTokens, kHeads, kHeadDim);
  for (const MethodCheck& check : checks) {
    fmt::print("  {:18}codes {}, attention differs by at most {:.1e}, fast {:.1e}  {}  ({})\n", check.method,
               check.same_codes ? "equal" : "DIFFER", check.precise, check.fast,
               check.good() ? "good" : "BAD", check.attention);
  }
  fmt::print(
      "{}\n",
      good ? "all good"
           : "the kernels on this CPU disagree with their definition; please report it with this output");
}

void print_json(const MachineFacts& machine, const std::vector<MethodCheck>& checks, bool good) {
  const std::string text = sample_text();
  nlohmann::ordered_json json = {{"schema", "veloxquant.doctor/1"},
                                 {"good", good},
                                 {"version", machine.version},
                                 {"compiler", machine.compiler},
                                 {"cpu", machine.cpu},
                                 {"processors", machine.processors},
                                 {"cpu_level", machine.level},
                                 {"cpu_levels", machine.levels},
                                 {"attention", to_string(attention_arithmetic())},
                                 {"memory_bytes", machine.memory_bytes},
                                 {"kernel", machine.kernel},
                                 {"huge_pages", machine.huge_pages},
                                 {"sample_text", or_null(text)},
                                 {"checks", nlohmann::ordered_json::array()}};
  for (const MethodCheck& check : checks) {
    json["checks"].push_back({{"method", check.method},
                              {"good", check.good()},
                              {"same_codes", check.same_codes},
                              {"attention_difference", check.precise},
                              {"attention_difference_fast", check.fast},
                              {"attention", check.attention}});
  }
  fmt::print("{}", json_text(json));
}

int doctor(const std::string& format) {
  const MachineFacts machine = machine_facts();
  const Tensor x = sample(kTokens, kHeadDim), query = sample(1, kHeadDim);
  std::vector<MethodCheck> checks;
  for (const char* method : {"fp16", "fp8", "q8_0", "q4_0", "affine:4", "turboquant_mse:4",
                             "turboquant_mse:2", "trellis:3", "trellis:2"})
    checks.push_back(check_method(method, x, query));
  const bool good = std::ranges::all_of(checks, &MethodCheck::good);
  if (format == "json")
    print_json(machine, checks, good);
  else
    print_table(machine, checks, good);
  return good ? kDone : kGateFailed;
}

}  // namespace

void add_doctor(Commands& commands) {
  const auto format = std::make_shared<std::string>("table");
  CLI::App* sub = commands.add("doctor", "What this machine offers, and a check of the kernels on it",
                               [format] { return doctor(*format); });
  sub->add_option("--format", *format, "of the output")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
}

}  // namespace veloxquant::cli
