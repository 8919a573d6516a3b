#include "transform/paley.hpp"

#include <cstddef>

namespace veloxquant {
namespace {

bool is_prime(int n) {
  if (n < 2) return false;
  for (int i = 2; i * i <= n; ++i)
    if (n % i == 0) return false;
  return true;
}

// 0, +1 or -1 as n is zero, a square or no square modulo the prime q.
int quadratic_character(int n, int q) {
  n = ((n % q) + q) % q;
  if (n == 0) return 0;
  for (int i = 1; i < q; ++i)
    if (i * i % q == n) return 1;
  return -1;
}

// The bordered character matrix C of order q + 1: C C^T = q I, antisymmetric for q = 4k + 3, symmetric for 4k
// + 1.
int conference_entry(int row, int column, int q) {
  if (row == column) return 0;
  if (row == 0) return 1;
  if (column == 0) return q % 4 == 3 ? -1 : 1;
  return quadratic_character(row - column, q);
}

bool first_construction(int order) { return is_prime(order - 1); }
bool second_construction(int order) { return is_prime(order / 2 - 1) && (order / 2 - 1) % 4 == 1; }

// H = C + I for the first; for the second each entry of C becomes a 2 x 2 block, those on its diagonal
// another one.
int paley_entry(int row, int column, int order) {
  if (first_construction(order)) return row == column ? 1 : conference_entry(row, column, order - 1);
  constexpr int kEntry[2][2] = {{1, 1}, {1, -1}}, kDiagonal[2][2] = {{1, -1}, {-1, -1}};
  const int c = conference_entry(row / 2, column / 2, order / 2 - 1);
  return c == 0 ? kDiagonal[row % 2][column % 2] : c * kEntry[row % 2][column % 2];
}

}  // namespace

bool has_paley_matrix(int order) {
  if (order == 1) return true;
  return order % 4 == 0 && (first_construction(order) || second_construction(order));
}

std::vector<float> paley_matrix(int order) {
  if (order == 1) return {1.0f};
  std::vector<float> matrix;
  for (int row = 0; row < order; ++row)
    for (int column = 0; column < order; ++column)
      matrix.push_back(static_cast<float>(paley_entry(row, column, order)));
  return matrix;
}

}  // namespace veloxquant
