// The random numbers that seeds stand for. A seed names the same transform for ever, so nothing here may
// change.
#pragma once

#include <cmath>
#include <cstdint>

namespace veloxquant {

// SplitMix64 (Steele, Lea and Flood 2014).
class SplitMix64 {
 public:
  explicit SplitMix64(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // 0 <= result < count, by the high half of a product; count is small, so that its bias is below 2^-50.
  std::uint64_t below(std::uint64_t count) { return ((next() >> 32) * count) >> 32; }
  // Multiples of 2^-52 in [-1, 1).
  double symmetric() { return static_cast<double>(next() >> 11) * 0x1p-52 - 1.0; }

 private:
  std::uint64_t state_;
};

// The natural logarithm from + - * / alone, so that it rounds alike everywhere, as the library's log need
// not: x = m 2^e with m in [1/2, 1), ln m = -2 atanh(t) with t = (1 - m) / (1 + m) <= 1/3.
inline double portable_log(double x) {
  int exponent = 0;
  const double m = std::frexp(x, &exponent), t = (1 - m) / (1 + m);
  double series = 0;
  for (int n = 35; n >= 1; n -= 2) series = series * t * t + 1.0 / n;
  return exponent * 0.69314718055994530942 - 2 * t * series;
}

// Standard normal numbers by Marsaglia's polar method.
class NormalSource {
 public:
  explicit NormalSource(std::uint64_t seed) : bits_(seed) {}

  double next() {
    if (has_spare_) {
      has_spare_ = false;
      return spare_;
    }
    double u = 0, v = 0, s = 0;
    do {
      u = bits_.symmetric();
      v = bits_.symmetric();
      s = u * u + v * v;
    } while (s >= 1 || s == 0);
    const double factor = std::sqrt(-2 * portable_log(s) / s);
    spare_ = v * factor;
    has_spare_ = true;
    return u * factor;
  }

 private:
  SplitMix64 bits_;
  double spare_ = 0;
  bool has_spare_ = false;
};

}  // namespace veloxquant
