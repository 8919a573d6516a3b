// Keys in frames shorter than the groups of tokens that kernels read: a block's keys are seen through their basis
// without leaving the kernels. With s the position of the block's first token, and frames that begin at s + f(t),
//
//     x_i(t) = <row i of B, y_t>          score(t) = g_t <R_-s q, R_f(t) x(t)> + <R_-s q, R_t mean>
//
// The first is what the kernel of the codes computes, the rows of the basis being its queries: they are prepared once
// for all blocks, and unpacked codes serve eight of them. The turn R_f(t) is the same table in every block. Lanes are
// tokens throughout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "attention/block_kernels.hpp"
#include "linalg/word_matrix.hpp"
#include "transform/coded_basis.hpp"

namespace veloxquant {

// Query rows as they are seen from the last block; kept from one to the next, which is a small turn away.
struct TurnedQueries {
  std::int64_t start = -1;  // of the last block; -1: none yet
  int rows = 0;
  TurnAngles angles;  // of that start
  std::vector<float> firsts,
      seconds;                      // [rows, pairs] in words' units: the coordinates that are turned together
  std::vector<float> turned;        // [2, kKernelRows, pairs]: R_-s q, first and second coordinates
  std::vector<std::int32_t> words;  // the same, rounded
  std::vector<float> steps;         // of the words, a row
};

class TurnedKeys {
 public:
  // Null where it would not pay: frames that do not divide a block, or a kernel that is not made for many rows.
  // Heads share the table of turns with `another` of the same RoPE and frames.
  static std::shared_ptr<const TurnedKeys> make(const CodedBasis& basis, const KeyKernel& kernel,
                                                const TurnedKeys* another = nullptr);

  TurnedKeys(const CodedBasis& basis, const KeyKernel& kernel, const TurnedKeys* another);

  // All but the turns, and these.
  std::size_t nbytes() const noexcept {
    return memory_.size() + means_.nbytes() + 2 * sizeof(float) * block_turn_.cosines.size();
  }
  const std::vector<float>& turns() const noexcept { return *turns_; }

  // Queries [rows, head_dim] of the blocks that follow.
  void begin(const float* queries, int rows, TurnedQueries& state) const;
  // A block whose positions count on from `start`, where a frame begins. scores[r][t]: without the vectors' gains;
  // offsets[r][t]: what the mean adds to the scores with them. Rows up to a kernel's width are written.
  void score(std::int64_t start, const std::uint8_t* block, const std::uint8_t* ahead, TurnedQueries& state,
             float* scores, float* offsets) const;

 private:
  static constexpr std::size_t kPairs = kKernelRows / 2;  // of the coordinates that are computed together

  void see_from(std::int64_t start, TurnedQueries& state) const;

  KeyKernel kernel_;
  const RopeTurn* turn_;
  std::size_t pairs_;
  std::vector<std::byte> memory_;  // of what is prepared, with room to align it
  std::byte* prepared_;            // of kPairs pairs after the other
  std::int64_t frame_;
  std::shared_ptr<const std::vector<float>> turns_;  // [pairs, cosine and sine, 64 tokens]
  WordMatrix means_;                                 // [head_dim by pairs, 64 tokens]
  TurnAngles block_turn_;                            // of 64 positions
};

}  // namespace veloxquant
