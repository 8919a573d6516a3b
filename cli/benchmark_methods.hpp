// Which methods a benchmark measures (the ones asked for and the baselines beside them) or a plan is for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>
#include <veloxquant/eval/result.hpp>

namespace CLI {
class App;
}

namespace veloxquant::cli {

// What the command line says about all methods at once. It applies to what a method's own text leaves open.
struct MethodDefaults {
  // Width or budget of methods that have several and are written without one; and that of the values' codes, where
  // what is written is for keys and values alike. Widths are whole numbers.
  std::optional<double> bits{}, value_bits{};
  std::optional<ScaleMode> scale{};
  std::optional<std::uint64_t> seed{};
};

// The options --bits and --value-bits, 0 where they are not given.
void add_width_options(CLI::App& command, double& bits, double& value_bits);

// Each text is name[:bits][:option=value], or two of those as keys/values. Methods that are written twice are
// measured once. Throws ConfigError for unknown names, for a default that none of the methods takes, and
// for one that contradicts what is written.
std::vector<BenchmarkMethod> asked_methods(const std::vector<std::string>& texts,
                                           const MethodDefaults& defaults);

// Throws ConfigError when none of the methods reads artifacts.
void require_calibrated(const std::vector<BenchmarkMethod>& methods);

// fp16, q8_0, q4_0 rotated, affine and turboquant_mse at 4 bits, without those that were asked for.
std::vector<BenchmarkMethod> baseline_methods(const std::vector<BenchmarkMethod>& asked,
                                              const MethodDefaults& defaults);

}  // namespace veloxquant::cli
