// GridSearch: the point of a uniform grid with the largest cosine to a vector, the encoder of RaBitQ.
//
// The grid's points are +-(k_c + 1/2), k_c = 0..top, one sign and one level k a coordinate. The best point is
// the nearest one to t m, m = |z|, for some t > 0, so that all candidates lie on one path: as t grows, k_c =
// min(top, floor(t m_c)) takes one step at t = k / m_c (Gao et al., arXiv:2409.09913). With
//
//     N = <y, m>,  Q = |y|^2,  a step adds m_c to N and 2 k to Q, and  dN / dQ = 1 / (2 t):
//
// N is a concave function of Q along the path, whose slope is known at every t. Between t = a and t = b it
// therefore stays below the tangents at both ends, and N^2 / Q, convex on a line, below its value at their
// intersection. The search cuts the path in halves, leaves out those whose bound is below the best cosine
// found, and walks step by step through what is left: it finds the best point of the whole path and looks at
// a few hundred of its d (2^(bits - 1) - 1) steps.
//
// m is rounded to multiples of 2^-22, which makes all sums exact: the same point on every CPU level. Steps
// that float products t m put one rounding too early or too late are covered by a margin of the bound.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace veloxquant {

class GridSearch {
 public:
  // Levels 0..top, top = 2^(bits - 1) - 1. bits 1..8, head_dim even and at most kMaxHeadDim.
  GridSearch(int bits, int head_dim);

  // z[head_dim] of variance about one (magnitudes at most sqrt(head_dim)) -> the levels of the best point;
  // its signs are those of z. A vector of zeros has levels 0.
  void find(const float* z, std::int32_t* levels);

 private:
  // The path at t.
  struct Point {
    float t = 0;
    std::int32_t steps = 0;  // taken until t
    double n = 0, q = 0;
  };
  struct Step {
    double t;
    std::int32_t coordinate, level;
  };

  Point at(float t) const;
  void consider(const Point& point);
  void search(const Point& a, const Point& b);
  void walk(const Point& a, const Point& b);

  int head_dim_, top_;
  std::vector<float> magnitudes_;
  double half_sum_ = 0;  // of the magnitudes
  double best_ = 0;      // N^2 / Q
  std::vector<std::int32_t> best_levels_, begin_, end_;
  std::vector<Step> steps_;
};

}  // namespace veloxquant
