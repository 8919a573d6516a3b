// RabitqIndex: a set of vectors coded by RaBitQ, searched by inner product.
//
// Vectors are rotated, and seen from the nearest of some centres where there are any: x = c + r. The residual
// r is coded by the grid code of the method `rabitq` (bits 1 to 8). Sign bits and remaining bits are stored
// apart; the inner product
//
//     <q, x> = <q, c> + <c, r> + <q - c, r>,    the last term estimated by S <y, q - c>,
//
// is estimated once from the signs alone, y = +-1, and for vectors that may be among the best again from all
// bits (Gao and Long, arXiv:2405.12497; Gao et al., arXiv:2409.09913). Both are unbiased and have margins
// (neighbours.hpp), in which |q - c| and |r| stand for |q| and |x|: with centres they are narrower.
//
// Bytes. The first stage reads of each vector
//
//     ceil(d / 8)   signs, coordinate c is bit c % 8 of byte c / 8, 1 for positive
//     2             F = |r|^2 / <r, signs>, f16
//     1             the sine of the angle between r and its signs, in 255ths, rounded up
//     1 + 1         with centres: which, and (<c, r> - F <signs, c>) / (F |c|), in steps of the whole index
//
// and of each centre d + 2 (8-bit code and f16 scale). The second stage has ceil(d (bits - 1) / 8) bytes of
// bits and, f16 each, S, the sine of the angle between r and y, rounded up, and with centres <c, r> - S <y,
// c>.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <veloxquant/core/tensor.hpp>
#include <veloxquant/search/neighbours.hpp>

namespace veloxquant {

struct RabitqIndexOptions {
  int bits = 4;                        // 1 to 8; with 1 there is no second stage
  int centres = 0;                     // of k-means, 0 to 256 and at most as many as vectors
  std::string transform = "hadamard";  // or "haar"
  std::uint64_t seed = 0;              // of the rotation and of k-means
};

class RabitqIndex {
 public:
  // vectors [count, d] of f32, f16 or bf16, count at least 1, d even and 2 to 4096. The same index on every
  // CPU level. Throws ShapeError, DTypeError, ConfigError, and NumericError for NaN, infinity and norms that
  // f16 scales do not hold.
  RabitqIndex(const Tensor& vectors, const RabitqIndexOptions& options);
  ~RabitqIndex();
  RabitqIndex(RabitqIndex&&) noexcept;
  RabitqIndex& operator=(RabitqIndex&&) noexcept;

  std::int64_t size() const noexcept;
  int dims() const noexcept;

  // query [d]. Scores are the estimates from all bits. Throws ShapeError, DTypeError, NumericError,
  // ConfigError.
  SearchResult search(const Tensor& query, const SearchOptions& options = {}) const;
  // For who has the vectors: those that the first stage leaves are ranked by exact(index), their inner
  // product. With one bit this is all there is to hold.
  SearchResult search(const Tensor& query, const SearchOptions& options,
                      const std::function<float(std::int64_t)>& exact) const;
  // The first stage's estimate of every vector.
  std::vector<Estimate> sign_estimates(const Tensor& query, float eps0 = 1.9f) const;
  // The estimate of vector `index` from all bits.
  Estimate estimate(const Tensor& query, std::int64_t index, float eps0 = 1.9f) const;
  // The vectors as they are stored, c + S y, f32 [count, d].
  Tensor decode() const;

  // What the first stage reads: signs, factors, sines, offsets, centres. What is held: that, and the
  // remaining bits.
  std::size_t scanned_bytes() const noexcept;
  std::size_t nbytes() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace veloxquant
