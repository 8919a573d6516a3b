// ProductTable: the search for the nearest centroid of a product code.
//
// A vector is cut into sub-vectors of `dims` coordinates; each is stored as the index of its nearest centroid
// (product quantization, Jegou, Douze and Schmid 2011). All sub-vectors of a vector share one table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace veloxquant {

// Index number `at` of a vector's codes: `bits` bits (8 or 12), least significant first.
inline unsigned product_index(const std::uint8_t* codes, std::size_t at, int bits) noexcept {
  if (bits == 8) return codes[at];
  const std::uint8_t* bytes = codes + at / 2 * 3;
  return at % 2 == 0 ? bytes[0] | (bytes[1] & 15u) << 8
                     : bytes[1] >> 4 | static_cast<unsigned>(bytes[2]) << 4;
}

class ProductTable {
 public:
  // 2^bits centroids of `dims` values, one after the other; bits 8 or 12, dims 4 or 8.
  ProductTable(std::span<const float> centroids, int bits, int dims);

  int bits() const noexcept { return bits_; }
  int dims() const noexcept { return dims_; }
  int count() const noexcept { return 1 << bits_; }

  // The index j of the least |c_j|^2 / 2 - <x, c_j> for each of `count` sub-vectors, the first of equal ones.
  // The order of the f32 operations is fixed: half the square, less the products from the first coordinate on.
  // So the indices are the same on every CPU level.
  void nearest(const float* x, std::size_t count, std::uint16_t* index) const;
  // The same for one sub-vector, from the definition.
  unsigned nearest(const float* x) const;

  std::size_t nbytes() const noexcept { return sizeof(float) * columns_.size(); }
  // [1 + dims][2^bits]: half the squares of the centroids, then coordinate by coordinate.
  const float* columns() const noexcept { return columns_.data(); }

 private:
  int bits_, dims_;
  std::vector<float> columns_;
};

}  // namespace veloxquant
