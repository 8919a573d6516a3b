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
#include <span>
#include <vector>
#include <veloxquant/quantizers/vector_quantizer.hpp>

#include "transform/rope_turn.hpp"

namespace veloxquant {

// How queries are multiplied by the basis and the means: in single precision, or rounded to 16 bits, whose
// products are off by 1e-5 of |q| |column| and take half of the time.
enum class FrameProducts : std::uint8_t { f32, words };

// Query rows as they are seen from some frames; kept from one call to the next, because the next frame is a
// small turn away.
struct FramedQueries {
  std::int64_t start = -1;  // of the last frame; -1: none yet
  TurnAngles angles;        // of that start
  // [frames, rows, stride]: B^T R_-s q, coded_dim long, and from `means` on <R_-s q, m_t>, t = 0, 1, ...
  std::vector<float> seen;
  std::size_t rows = 0, stride = 0, means = 0;
  std::vector<float> turned;  // room: R_-s q of a frame
  std::vector<std::int32_t>
      words;                 // room: the same of all frames, a pair of 16-bit words a pair of coordinates
  std::vector<float> steps;  // room: of the words, a row

  const float* coded_of(std::size_t frame) const { return seen.data() + frame * rows * stride; }
  const float* means_of(std::size_t frame, std::size_t row) const {
    return seen.data() + (frame * rows + row) * stride + means;
  }
};

// How keys stand in their frames.
struct KeyFrames {
  std::int64_t length = 0;  // tokens; 0: no keys
  const RopeTurn* turn = nullptr;
  const float* mean = nullptr;  // m_0 [head_dim]
};

class CodedBasis {
 public:
  virtual ~CodedBasis() = default;

  virtual int coded_dim() const noexcept = 0;
  virtual KeyFrames key_frames() const noexcept = 0;
  // Keys: row i of B, [coded_dim].
  virtual void key_row(int i, float* row) const = 0;
  // Keys: query rows [rows, head_dim] as they are seen from the frames that begin at `starts`.
  virtual void turn_queries(const float* queries, int rows, std::span<const std::int64_t> starts,
                            FrameProducts products, FramedQueries& seen) const = 0;
  // Keys: coded rows y [count, coded_dim], which stand at `places` -> k [count, head_dim].
  virtual void restore_keys(const float* coded, const TokenPlace* places, std::size_t count,
                            FrameProducts products, float* rows) const = 0;
  // Values: out[r] = B coded[r] + weights[r] m for r < count.
  virtual void restore_sums(const float* coded, const float* weights, std::size_t count,
                            float* out) const = 0;
};

}  // namespace veloxquant
