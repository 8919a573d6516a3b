#include "linalg/qr.hpp"

#include <Eigen/QR>

namespace veloxquant {

std::vector<double> orthogonal_factor(const std::vector<double>& a, int n) {
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Eigen::HouseholderQR<Matrix> qr(Eigen::Map<const Matrix>(a.data(), n, n));
  std::vector<double> result(a.size());
  Eigen::Map<Matrix> q(result.data(), n, n);
  q = qr.householderQ();
  for (int column = 0; column < n; ++column)
    if (qr.matrixQR()(column, column) < 0) q.col(column) = -q.col(column);
  return result;
}

}  // namespace veloxquant
