// CodedBasis: how coded vectors stand to the vectors of the input, for methods whose codes hold fewer coordinates
// than the vector has, or keys in frames of their own.
//
//     key of token j in a frame that begins at s     k_j = R_s (B y_j + m_t),   t = position - s
//     value of token j                               v_j = B y_j + m
//
// with y_j what the codes hold, B [head_dim, coded_dim], R_s the rotation of the model's RoPE. So attention reads
//
//     <q, k_j> = <B^T R_-s q, y_j> + <R_-s q, m_t>       sum_j w_j v_j = B (sum_j w_j y_j) + (sum_j w_j) m
//
// and turns queries once a frame, never a cached key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "transform/rope_turn.hpp"

namespace veloxquant {

// Query rows as they are seen from a frame; kept from frame to frame, because the next one is a small turn away.
struct FramedQueries {
  std::int64_t start = -1;    // of the frame; -1: none yet
  TurnAngles angles;          // of the start
  std::vector<float> turned;  // [rows, head_dim]: R_-s q
  std::vector<float> coded;   // [rows, coded_dim] and padding: B^T R_-s q
  std::vector<float> means;   // [rows, places] and padding: <R_-s q, m_t>, t = 0 .. places - 1
  std::size_t places = 0;     // of a frame
};

class CodedBasis {
 public:
  virtual ~CodedBasis() = default;

  virtual int coded_dim() const noexcept = 0;
  // Keys: query rows [rows, head_dim] as they are seen from the frame that begins at `start`.
  virtual void turn_queries(const float* queries, int rows, std::int64_t start,
                            FramedQueries& seen) const = 0;
  // Values: out[head_dim] = B coded[coded_dim] + weight m.
  virtual void restore_sum(const float* coded, float weight, float* out) const = 0;
};

}  // namespace veloxquant
