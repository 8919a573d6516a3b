// Symmetric distributions of variance one, by the integrals that codebooks are solved from.
//
// Both have integrals in closed form. With x = sqrt(d) sin(a), the sphere's marginal density becomes
// cos(a)^(d-2) da up to a constant, whose integral obeys n I_n = cos^(n-1) sin + (n-1) I_(n-2), a sum of
// positive terms.
#pragma once

#include <cmath>
#include <limits>

namespace veloxquant {

class Density {
 public:
  struct Integral {
    double mass = 0;    // integral of f over [0, x]
    double moment = 0;  // integral of t f(t) over [0, x]
  };

  // The marginal of the sphere of radius sqrt(head_dim), head_dim >= 2; 0: the standard normal.
  explicit Density(int head_dim) : dim_(head_dim) {
    if (dim_ != 0) whole_ = 2 * cosine_power(1.0, 0.0);
  }

  // End of the support.
  double reach() const { return dim_ == 0 ? std::numeric_limits<double>::infinity() : std::sqrt(dim_); }

  double value(double x) const {
    if (dim_ == 0) return kNormalPeak * std::exp(-0.5 * x * x);
    return std::pow(1 - x * x / dim_, 0.5 * (dim_ - 3)) / (whole_ * reach());
  }

  Integral up_to(double x) const {
    if (dim_ == 0) return {0.5 * std::erf(x * std::sqrt(0.5)), kNormalPeak * (1 - std::exp(-0.5 * x * x))};
    const double sine = x < reach() ? x / reach() : 1.0;
    const double cosine = std::sqrt((1 - sine) * (1 + sine));
    return {cosine_power(sine, cosine) / whole_,
            reach() * (1 - std::pow(cosine, dim_ - 1)) / ((dim_ - 1) * whole_)};
  }

 private:
  static constexpr double kNormalPeak = 0.39894228040143267794;  // 1 / sqrt(2 pi)

  // Integral of cos^(dim - 2) from 0 to the angle.
  double cosine_power(double sine, double cosine) const {
    const bool even = dim_ % 2 == 0;
    double integral = even ? std::asin(sine) : sine;
    double power = even ? cosine : cosine * cosine;  // cos^(n - 1)
    for (int n = even ? 2 : 3; n <= dim_ - 2; n += 2, power *= cosine * cosine)
      integral = (power * sine + (n - 1) * integral) / n;
    return integral;
  }

  int dim_;
  double whole_ = 1;  // integral over all angles
};

}  // namespace veloxquant
