// Moments: mean and scatter of vectors, streaming and mergeable.
//
// Rows come in by blocks; a block's scatter is taken around its own mean and joined with what was there
// (Chan, Golub, LeVeque 1979), so that a large constant offset costs no digits. Two halves of a text merged
// give the moments of the whole, up to rounding.
#pragma once

#include <cstddef>
#include <vector>

namespace veloxquant {

class Moments {
 public:
  explicit Moments(int dim = 0);
  // As they were: count(), mean() [dim] and scatter() [dim, dim]. Throws ShapeError for a scatter of another size.
  Moments(double count, std::vector<double> mean, std::vector<double> scatter);

  // rows f32 [count, dim], dense and finite.
  void add(const float* rows, std::size_t count);
  void merge(const Moments& other);

  int dim() const noexcept { return dim_; }
  double count() const noexcept { return count_; }
  const std::vector<double>& mean() const noexcept { return mean_; }
  // [dim, dim]: the sum of (x - mean) (x - mean)^T.
  const std::vector<double>& scatter() const noexcept { return scatter_; }
  // [dim, dim]: the scatter, divided by the count. Throws NumericError when nothing was added.
  std::vector<double> covariance() const;

 private:
  int dim_;
  double count_ = 0;
  std::vector<double> mean_, scatter_;
};

}  // namespace veloxquant
