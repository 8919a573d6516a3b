// Hadamard matrices of orders that are not powers of two, by Paley's two constructions (1933).
#pragma once

#include <vector>

namespace veloxquant {

// Whether the order is served: 1, or a multiple of 4 with order - 1 a prime (first construction) or order / 2
// - 1 a prime of the form 4k + 1 (second construction). Among them are 12, 20, 28, 36, 44, 60, 68 and 76.
bool has_paley_matrix(int order);

// Row-major +1 / -1 matrix H with H H^T = order * I.
std::vector<float> paley_matrix(int order);

}  // namespace veloxquant
