#include "linalg/symmetric.hpp"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <veloxquant/core/error.hpp>

namespace veloxquant {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::Map<const Matrix> matrix_of(std::span<const double> a, int n) { return {a.data(), n, n}; }

}  // namespace

SymmetricEigen symmetric_eigen(std::span<const double> a, int n) {
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(matrix_of(a, n));
  if (solver.info() != Eigen::Success) {
    throw NumericError("eigenvectors", "the iteration did not settle; are all values finite?");
  }
  SymmetricEigen result{std::vector<double>(static_cast<std::size_t>(n)), std::vector<double>(a.size())};
  Eigen::Map<Matrix> rows(result.vectors.data(), n, n);
  for (int c = 0; c < n; ++c) {
    const int from = n - 1 - c;  // Eigen's order is ascending
    result.values[static_cast<std::size_t>(c)] = solver.eigenvalues()(from);
    Eigen::Index largest = 0;
    solver.eigenvectors().col(from).cwiseAbs().maxCoeff(&largest);
    const double sign = solver.eigenvectors()(largest, from) < 0 ? -1 : 1;
    rows.row(c) = sign * solver.eigenvectors().col(from).transpose();
  }
  return result;
}

std::vector<double> multiply(std::span<const double> a, std::span<const double> b, int n) {
  std::vector<double> result(a.size());
  Eigen::Map<Matrix>(result.data(), n, n).noalias() = matrix_of(a, n) * matrix_of(b, n);
  return result;
}

SymmetricRoot symmetric_root(std::span<const double> a, int n, double floor) {
  const SymmetricEigen eigen = symmetric_eigen(a, n);
  const double least = std::max(floor * eigen.values.front(), 1e-300);
  Eigen::VectorXd roots(n);
  for (int c = 0; c < n; ++c)
    roots(c) = std::sqrt(std::max(eigen.values[static_cast<std::size_t>(c)], least));
  const auto rows = matrix_of(eigen.vectors, n);
  SymmetricRoot result{std::vector<double>(a.size()), std::vector<double>(a.size())};
  Eigen::Map<Matrix>(result.root.data(), n, n).noalias() = rows.transpose() * roots.asDiagonal() * rows;
  Eigen::Map<Matrix>(result.inverse_root.data(), n, n).noalias() =
      rows.transpose() * roots.cwiseInverse().asDiagonal() * rows;
  return result;
}

}  // namespace veloxquant
