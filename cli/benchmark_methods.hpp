// Which methods a benchmark measures: the ones asked for and the baselines beside them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>
#include <veloxquant/eval/result.hpp>

namespace veloxquant::cli {

// What the command line says about all methods at once. It applies to what a method's own text leaves open.
struct MethodDefaults {
  std::optional<int> bits{};        // width of methods that have several and are written without one
  std::optional<int> value_bits{};  // width of the values' codes, over what is written
  std::optional<ScaleMode> scale{};
  std::optional<std::uint64_t> seed{};
};

// Each text is name[:bits][:option=value], or two of those as keys/values. Methods that are written twice are
// measured once. Throws ConfigError for unknown names, and for a default that none of the methods takes.
std::vector<BenchmarkMethod> asked_methods(const std::vector<std::string>& texts,
                                           const MethodDefaults& defaults);

// fp16, q8_0, q4_0 rotated, affine and turboquant_mse at 4 bits, without those that were asked for.
std::vector<BenchmarkMethod> baseline_methods(const std::vector<BenchmarkMethod>& asked,
                                              const MethodDefaults& defaults);

}  // namespace veloxquant::cli
