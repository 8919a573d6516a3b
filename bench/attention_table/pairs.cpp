#include "pairs.hpp"

namespace veloxquant::bench {
namespace {

struct CodeName {
  const char* name;
  const char* method;
};

// One row makes a code measurable by name.
constexpr CodeName kCodes[] = {
    {"f16", "fp16"},
    {"q4_0", "q4_0:4:transform=hadamard"},
    {"scalar2", "turboquant_mse:2"},
    {"scalar3", "turboquant_mse:3"},
    {"scalar4", "turboquant_mse:4"},
    {"scalar8", "turboquant_mse:8"},
    {"trellis2", "trellis:2"},
    {"trellis3", "trellis:3"},
    {"trellis4", "trellis:4"},
    {"affine4g64", "affine:4:group=64"},
    {"mixed", "spectral"},
    {"framed64", "spectral"},
    {"framed16", "spectral"},
    {"framed1", "spectral"},
    {"mixed-scalar", "spectral"},
    {"framed64-scalar", "spectral"},
    {"framed16-scalar", "spectral"},
    {"framed1-scalar", "spectral"},
};

std::vector<Pair> parsed(std::initializer_list<const char*> texts) {
  std::vector<Pair> pairs;
  for (const char* text : texts) pairs.push_back(parse_pair(text));
  return pairs;
}

}  // namespace

const Pair kBaseline = {"f16", "f16"};

Pair parse_pair(const std::string& text) {
  const std::size_t slash = text.find('/');
  const std::string keys = text.substr(0, slash);
  return {keys, slash == std::string::npos ? keys : text.substr(slash + 1)};
}

MethodSpec method_of(const std::string& name) {
  for (const CodeName& code : kCodes) {
    if (name == code.name) return MethodSpec::parse(code.method);
  }
  return MethodSpec::parse(name);
}

std::int64_t frame_of(const std::string& keys) {
  constexpr std::string_view kFramed = "framed";
  return keys.starts_with(kFramed) ? std::stoll(keys.substr(kFramed.size())) : 0;
}

bool has_scalar_runs(const std::string& keys) { return keys.ends_with("-scalar"); }

std::vector<Pair> all_pairs() {
  return parsed({"f16", "q8_0", "q8_0/scalar4", "scalar4", "scalar4/scalar2", "scalar3", "scalar2",
                 "trellis3/trellis2", "trellis2", "affine4g64", "framed64/mixed", "framed16/mixed",
                 "framed1/mixed", "framed64-scalar/mixed-scalar", "framed16-scalar/mixed-scalar",
                 "framed1-scalar/mixed-scalar"});
}

std::vector<Pair> few_pairs() { return parsed({"f16", "q8_0", "scalar4", "scalar2", "trellis2"}); }

}  // namespace veloxquant::bench
