// The first stage of a search: the signs of vectors, and estimates of inner products from them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <veloxquant/core/half.hpp>
#include <veloxquant/search/neighbours.hpp>

#include "codebook/row_code.hpp"

namespace veloxquant {

// A query in the space of the codes: for every byte of signs, sum +-q over its eight coordinates. Exact in
// that the query is not rounded; sums are in one order on every CPU level.
class SignQuery {
 public:
  SignQuery(const float* query, int dims);

  // sum_c +-q_c.
  float product(const std::uint8_t* signs) const noexcept;
  double norm() const noexcept { return norm_; }

 private:
  std::vector<std::array<float, 256>> sums_;
  double norm_;
};

// Of each vector x its signs, the factor F = |x|^2 / <x, signs> and the sine of the angle between the two.
// Then F <signs, q> estimates <x, q>, with the margin eps0 |q| F sine sqrt(d / (d - 1)) of neighbours.hpp.
class SignPlanes {
 public:
  explicit SignPlanes(int dims);

  // rows [count, dims] in the space of the codes.
  void append(const float* rows, std::size_t count);
  void clear();

  std::size_t size() const noexcept { return sines_.size(); }
  const std::uint8_t* signs(std::size_t i) const noexcept { return signs_.data() + i * width_; }
  float factor(std::size_t i) const noexcept { return to_f32(factors_[i]); }
  // Of the inner product with a query of norm one, for eps0 = 1.
  float margin(std::size_t i) const noexcept {
    return factor(i) * static_cast<float>(sines_[i]) * margin_step_ + factor_margin_;
  }
  // Bytes of the vectors, and all that is held.
  std::size_t vector_bytes() const noexcept { return size() * (width_ + 3); }
  std::size_t nbytes() const noexcept;

 private:
  std::shared_ptr<const RowCode> code_;  // rabitq, 1 bit
  std::size_t width_;                    // bytes of signs
  float margin_step_;
  float factor_margin_;  // what the rounding of a factor below the normal f16 numbers may have done
  std::vector<std::uint8_t> signs_;
  std::vector<f16> factors_;
  std::vector<std::uint8_t> sines_;  // in 255ths, rounded up
};

}  // namespace veloxquant
