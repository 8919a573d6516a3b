// QuantizerRegistry: the methods by name; QuantizerFactory: makes one.
//
// Built-in methods and a user's own go through the same door:
//
//     VELOXQUANT_REGISTER_QUANTIZER("my_quantizer", MyQuantizer);   // MyQuantizer(const QuantizerOptions&)
//     auto q = QuantizerFactory::create("my_quantizer", {.bits = 2, .head_dim = 128});
//
// In the program that links it, a registered name works wherever a built-in does: as the method of a cache,
// in configs, in saved files. The installed command knows the built-in methods.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <veloxquant/core/abstractions.hpp>

namespace veloxquant {

// The per-vector scale of codes that have one (EDEN, arXiv:2105.08339; y is the code point, x the vector).
enum class ScaleMode : std::uint8_t {
  one,       // |x| / sqrt(head_dim): the codebook's own norm is trusted (TurboQuant_mse, arXiv:2504.19874)
  matched,   // |x| / |y|: the decoded vector has the norm of x
  unbiased,  // |x|^2 / <y, x>: inner products with the decoded vector are unbiased
};
const char* to_string(ScaleMode mode) noexcept;
ScaleMode scale_mode_from(const std::string& name);  // throws ConfigError

enum class Role : std::uint8_t { keys, values };
const char* to_string(Role role) noexcept;

// What a method may be asked. Each method documents which options it takes (`list` prints them) and refuses the
// others when they differ from the default, so that nothing asked for is ever ignored.
struct QuantizerOptions {
  int bits = 4;
  int head_dim = 0;                            // coordinates of a vector; required
  ScaleMode scale = ScaleMode::unbiased;       // for codes with a per-vector scale
  std::string transform{};                     // "none", "hadamard", "haar"; empty: the method's own
  int group = 0;                               // coordinates that share a scale; 0: the method's own
  std::uint64_t seed = 0;                      // of random transforms
  bool centre = false;                         // subtract calibrated per-head means (needs artifacts)
  std::map<std::string, std::string> extra{};  // options of methods from outside
  // Filled in by the cache, not by users:
  Role role = Role::keys;
  int kv_heads = 0;
  std::shared_ptr<const QuantizationContext> context{};
};

// The option of methods that spread bits over a model: their average, "1.5", in place of a width.
inline constexpr const char* kBudgetOption = "target_bits";

// What `list` says about a method.
struct MethodInfo {
  std::string summary{};               // one line
  std::vector<int> bits{};             // widths served, ascending; empty: any
  std::vector<std::string> options{};  // names of the QuantizerOptions it takes beside bits
  std::string needs = "nothing";       // calibration or other input it cannot do without
  std::string transform = "none";      // the one it has unless asked for another
  bool reads_artifacts = true;  // also without `centre`; else layers of equal settings share a quantizer

  bool takes(const std::string& option) const;
  // Whether it spreads a budget over the model (the option kBudgetOption) and so has no width of its own.
  bool takes_budget() const { return takes(kBudgetOption); }
  // Whether a seed changes anything: only random transforms have one.
  bool uses_seed(const QuantizerOptions& options) const;
  // Throws ConfigError in the name of `operation`, listing the widths there are, when `width` is not one of them.
  void require_width(const std::string& method, int width, const std::string& operation) const;
};

using QuantizerMaker = std::function<std::shared_ptr<const Quantizer>(const QuantizerOptions&)>;

class QuantizerRegistry {
 public:
  // Throws ConfigError when the name is empty or taken, by a built-in method or another.
  static void add(const std::string& name, QuantizerMaker make, MethodInfo info = {});
  static bool contains(const std::string& name);
  // Throws ConfigError that lists what exists when the name is unknown.
  static MethodInfo info(const std::string& name);
  static std::vector<std::string> names();  // sorted
};

class QuantizerFactory {
 public:
  // Throws ConfigError for unknown names, widths that the method does not serve and options it does not take.
  static std::shared_ptr<const Quantizer> create(const std::string& name, const QuantizerOptions& options);
};

// Registers a class that is constructible from QuantizerOptions, once, at start-up.
#define VELOXQUANT_REGISTER_QUANTIZER(name, Type)                                                          \
  [[maybe_unused]] static const bool veloxquant_registered_##Type =                                        \
      (::veloxquant::QuantizerRegistry::add(                                                               \
           name, [](const ::veloxquant::QuantizerOptions& o) { return std::make_shared<const Type>(o); }), \
       true)

}  // namespace veloxquant
