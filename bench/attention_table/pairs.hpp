// The codes that the table measures, by the short names that it and its JSON use.
#pragma once

#include <cstdint>
#include <string>
#include <vector>
#include <veloxquant/core/config.hpp>

namespace veloxquant::bench {

// Codes of keys and of values. A name is one of the table in pairs.cpp, or a method as the command takes it
// ("turboquant_mse:5", "affine:4:group=32"), which adds a row without a name of its own.
struct Pair {
  std::string keys, values;
  bool operator==(const Pair&) const = default;
};

// "q8_0/scalar4", or one name for both.
Pair parse_pair(const std::string& text);
// Throws ConfigError for what is neither a name nor a method.
MethodSpec method_of(const std::string& name);

// Tokens of the RoPE frames of keys "framed64" and the like, whose values are "mixed"; 0 for other codes.
std::int64_t frame_of(const std::string& keys);

// Whether runs of them are scalar codes, as in "framed64-scalar", whose values are "mixed-scalar"; else
// trellis.
bool has_scalar_runs(const std::string& keys);

extern const Pair kBaseline;  // what ratios refer to
std::vector<Pair> all_pairs();
std::vector<Pair> few_pairs();  // of a quick run

}  // namespace veloxquant::bench
