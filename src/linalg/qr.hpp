// The orthogonal factor of a square matrix.
#pragma once

#include <vector>

namespace veloxquant {

// a [n, n], row-major, of full rank -> Q [n, n], row-major, where a = Q R and R has a positive diagonal; that
// makes Q unique.
std::vector<double> orthogonal_factor(const std::vector<double>& a, int n);

}  // namespace veloxquant
