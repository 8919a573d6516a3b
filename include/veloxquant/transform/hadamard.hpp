// HadamardTransform: the randomized Hadamard rotation, in d log d operations.
//
// One round multiplies by random signs and then by a normalized Hadamard matrix. A single round turns a
// vector of few large coordinates into one of few distinct values, which codebooks for a random rotation fit
// badly; after two rounds with different signs the coordinates look as they do after a dense random rotation.
//
// Sizes need no padding. With d = 2^k m, m = 1 or four times the odd part of d, the matrix is H_(2^k) (x)
// H_m, and H_m is Paley's: this covers 64, 80, 96, 112, 128, 192, 256 and most multiples of 4. Any other even
// size is cut into blocks of such sizes, largest first; a fixed random permutation between the rounds mixes
// the blocks, and one more round makes up for coordinates that fell into a small block.
//
// The seed determines signs and permutations for ever. Orthogonal up to float rounding; inverse is the exact
// adjoint, step by step. Inputs near the end of the float range (a norm beyond about 1e37) overflow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <veloxquant/transform/row_transform.hpp>

namespace veloxquant {

class HadamardTransform final : public RowTransform {
 public:
  // head_dim even, 2 to 4096; rounds 1 to 8. Throws ConfigError.
  explicit HadamardTransform(int head_dim, std::uint64_t seed, int rounds = 2);

  int head_dim() const noexcept override { return head_dim_; }
  // Rounds done, the additional one of split sizes included.
  int rounds() const noexcept { return static_cast<int>(rounds_.size()); }
  void apply_row(const float* x, float* y) const override;
  void apply_rows(const float* x, std::size_t count, float* y) const override;
  void inverse_row(const float* y, float* x) const override;
  std::size_t nbytes() const noexcept override;

 private:
  struct Block {  // [begin, begin + count * core): H_count (x) H_core, count a power of two
    int begin, count, core;
    std::vector<float> matrix, transposed;  // of H_core; empty when core is 1
  };
  struct Round {
    std::vector<float> signs;          // +-1 / sqrt(block size)
    std::vector<std::int32_t> gather;  // before the signs: coordinate i comes from gather[i]; empty: itself
  };

  void apply_blocks(const float* x, float* y) const;
  void multiply(float* x, float* scratch, bool transposed) const;

  int head_dim_;
  std::vector<Block> blocks_;
  std::vector<Round> rounds_;
};

}  // namespace veloxquant
