// Random vectors and the error of a code on them.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "codebook/row_code.hpp"
#include "transform/random.hpp"

namespace veloxquant::testing {

inline std::vector<float> normal_values(std::size_t count, std::uint64_t seed) {
  NormalSource normal(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(normal.next());
  return values;
}

inline double inner(const float* a, const float* b, int d) {
  double sum = 0;
  for (int c = 0; c < d; ++c) sum += static_cast<double>(a[c]) * b[c];
  return sum;
}

// `count` vectors of d coordinates, uniform on the unit sphere.
inline std::vector<float> sphere_vectors(int count, int d, std::uint64_t seed) {
  std::vector<float> x = normal_values(static_cast<std::size_t>(count) * static_cast<std::size_t>(d), seed);
  for (int v = 0; v < count; ++v) {
    float* row = x.data() + static_cast<std::ptrdiff_t>(v) * d;
    const double norm = std::sqrt(inner(row, row, d));
    for (int c = 0; c < d; ++c) row[c] = static_cast<float>(row[c] / norm);
  }
  return x;
}

struct CodedRow {
  explicit CodedRow(const CodeSpec& spec) : codes(spec.code_bytes()), scales(spec.scale_bytes()) {}
  std::vector<std::uint8_t> codes, scales;
};

inline CodedRow encode(const RowCode& code, const float* x) {
  CodedRow row(code.spec());
  code.encode(x, row.codes.data(), row.scales.data());
  return row;
}

// What decoding gives after encoding x.
inline std::vector<float> coded(const RowCode& code, const float* x) {
  const CodedRow row = encode(code, x);
  std::vector<float> y(static_cast<std::size_t>(code.spec().head_dim));
  decode_row(code.spec(), row.codes.data(), row.scales.data(), y.data());
  return y;
}

// |x - y|^2 / |x|^2.
inline double relative_error(const float* x, const float* y, int d) {
  double error = 0;
  for (int c = 0; c < d; ++c)
    error += (static_cast<double>(x[c]) - y[c]) * (static_cast<double>(x[c]) - y[c]);
  return error / inner(x, x, d);
}

// Its mean over rows.
inline double mean_error(const RowCode& code, const std::vector<float>& rows) {
  const int d = code.spec().head_dim;
  const std::size_t count = rows.size() / static_cast<std::size_t>(d);
  double sum = 0;
  for (std::size_t v = 0; v < count; ++v) {
    const float* x = rows.data() + v * static_cast<std::size_t>(d);
    sum += relative_error(x, coded(code, x).data(), d);
  }
  return sum / static_cast<double>(count);
}

// Mean, variance and standard error of the mean of a stream of numbers.
class Statistics {
 public:
  void add(double x) { ++count_, sum_ += x, squares_ += x * x; }
  double mean() const { return sum_ / count_; }
  double variance() const { return (squares_ - sum_ * sum_ / count_) / (count_ - 1); }
  double standard_error() const { return std::sqrt(variance() / count_); }

 private:
  double count_ = 0, sum_ = 0, squares_ = 0;
};

}  // namespace veloxquant::testing
