// Sums, extremes and stored scales of one row, with an order of operations that no vector width changes.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <fmt/format.h>

#include <veloxquant/core/error.hpp>
#include <veloxquant/core/half.hpp>

namespace veloxquant {

// Term i goes to partial sum i % 8, and the partial sums are added in order. Double holds the square of every
// float, so that norms neither overflow nor vanish.
template <class Term>
double fixed_order_sum(int count, Term term) {
  constexpr int kLanes = 8;
  double lanes[kLanes] = {};
  int i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += term(i + lane);
  for (int lane = 0; i + lane < count; ++lane) lanes[lane] += term(i + lane);
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

inline double dot(const float* a, const float* b, int count) {
  return fixed_order_sum(count, [=](int i) { return static_cast<double>(a[i]) * b[i]; });
}

// The largest |x|, compared as bit patterns: a NaN or an infinity that slipped in comes out, never
// disappears.
inline float largest_magnitude(const float* x, int count) {
  std::uint32_t largest = 0;
  for (int i = 0; i < count; ++i) {
    const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu;
    largest = magnitude > largest ? magnitude : largest;
  }
  return std::bit_cast<float>(largest);
}

// Stores the f16 scale or bias number `index` of a row and returns the value that decoding will see.
inline float store_f16(double value, const char* what, std::uint8_t* scales, int index) {
  if (!(std::fabs(value) < 65520.0))  // where rounding to f16 gives infinity; a NaN ends here too
    throw NumericError("encode",
                       fmt::format("the {} of a vector is {:g}, but f16 holds at most 65504; scale the "
                                   "input down or use a wider code",
                                   what, value));
  const f16 stored = to_f16(static_cast<float>(value));
  std::memcpy(scales + 2 * static_cast<std::size_t>(index), &stored, 2);
  return to_f32(stored);
}

}  // namespace veloxquant
