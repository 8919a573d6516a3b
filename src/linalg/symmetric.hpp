// Symmetric matrices in double precision: eigenvectors, products, square roots. All matrices are [n, n],
// row-major.
#pragma once

#include <span>
#include <vector>

namespace veloxquant {

struct SymmetricEigen {
  std::vector<double> values;  // descending
  std::vector<double>
      vectors;  // [n, n]: row c is the unit eigenvector of values[c], its largest component positive
};
// Throws NumericError when the iteration does not settle, which finite input does not bring about.
SymmetricEigen symmetric_eigen(std::span<const double> a, int n);

// a b
std::vector<double> multiply(std::span<const double> a, std::span<const double> b, int n);

// The symmetric root of a positive definite matrix, and its inverse.
struct SymmetricRoot {
  std::vector<double> root, inverse_root;
};
// Eigenvalues below `floor` times the largest count as that.
SymmetricRoot symmetric_root(std::span<const double> a, int n, double floor);

}  // namespace veloxquant
