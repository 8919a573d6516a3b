// Inputs for the trellis tests.
#pragma once

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <utility>
#include <vector>

#include "codebook/trellis.hpp"

namespace veloxquant {

inline std::vector<float> gaussian(int n, double deviation, std::mt19937_64& random) {
  std::normal_distribution<float> normal(0.0F, static_cast<float>(deviation));
  std::vector<float> z(static_cast<std::size_t>(n));
  for (float& value : z) value = normal(random);
  return z;
}

// Uniform on the sphere of radius sqrt(n).
inline std::vector<float> on_sphere(int n, std::mt19937_64& random) {
  std::vector<float> z = gaussian(n, 1, random);
  double energy = 0;
  for (const float value : z) energy += static_cast<double>(value) * static_cast<double>(value);
  for (float& value : z) value *= static_cast<float>(std::sqrt(n / energy));
  return z;
}

inline std::vector<std::uint8_t> encoded(TrellisRuns runs, const std::vector<float>& z) {
  std::vector<std::uint8_t> codes(trellis_code_bytes(runs), 0xAA);
  trellis_encode(runs, z.data(), 1, codes.data());
  return codes;
}
inline std::vector<std::uint8_t> encoded(const TrellisTable& table, const std::vector<float>& z) {
  const TrellisRun run{&table, static_cast<int>(z.size())};
  return encoded({&run, 1}, z);
}

inline std::vector<float> decoded(TrellisRuns runs, const std::vector<std::uint8_t>& codes) {
  std::vector<float> y(static_cast<std::size_t>(trellis_length(runs)));
  trellis_decode(runs, codes.data(), y.data());
  return y;
}
inline std::vector<float> decoded(const TrellisTable& table, const std::vector<std::uint8_t>& codes, int n) {
  const TrellisRun run{&table, n};
  return decoded({&run, 1}, codes);
}

// Runs of (bits, elements).
inline std::vector<TrellisRun> string_of(std::initializer_list<std::pair<int, int>> widths) {
  std::vector<TrellisRun> runs;
  for (const auto& [bits, count] : widths) runs.push_back({&trellis_table(bits), count});
  return runs;
}
inline double squared_error(const std::vector<float>& z, const std::vector<float>& y) {
  double error = 0;
  for (std::size_t t = 0; t < z.size(); ++t) {
    const double difference = static_cast<double>(z[t]) - static_cast<double>(y[t]);
    error += difference * difference;
  }
  return error;
}

}  // namespace veloxquant
