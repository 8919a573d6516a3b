// Inputs for the trellis tests.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
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

inline std::vector<std::uint8_t> encoded(const TrellisTable& table, const std::vector<float>& z) {
  const int n = static_cast<int>(z.size());
  std::vector<std::uint8_t> codes(trellis_code_bytes(n, table.bits), 0xAA);
  trellis_encode(table, z.data(), n, codes.data());
  return codes;
}

inline std::vector<float> decoded(const TrellisTable& table, const std::vector<std::uint8_t>& codes, int n) {
  std::vector<float> y(static_cast<std::size_t>(n));
  trellis_decode(table, codes.data(), n, y.data());
  return y;
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
