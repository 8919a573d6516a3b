// CodeSpec: what the bytes of a coded vector mean.
//
// Kernels are written per code, not per method: a method that produces one of these codes gets the kernels. A
// vector of head_dim coordinates is stored as its codes and its scales:
//
//   kind      codes (canonical order)                   scales (f16, little-endian)   value of coordinate c
//   --------  ----------------------------------------  ----------------------------  ------------------------
//   f32       4 bytes each                              -                             itself
//   f16 bf16  2 bytes each                              -                             itself
//   fp8_e4m3  1 byte each                               -                             itself
//   integer   4 bits each, LSB first: u = q + 8;        head_dim / group              s[c / group] * q
//             8 bits each: q in two's complement
//   affine    2 3 4 5 6 8 bits each, LSB first          head_dim / group scales,      s[g] * u + z[g]
//                                                       then as many biases z
//   scalar    1 to 8 bits each, LSB first               1 (S)                         S * table[u]
//   trellis   1 to 4 bits each, LSB first, cyclic       1 (S)                         S * table[w], w = the 8
//                                                                                     bits from bit c * bits on
//   mixed     its runs one after the other, each a      0 or 1 (S)                    as in its run; w crosses the
//             scalar or trellis code that begins on                                   ends of trellis runs
//             a byte
//   product   8 or 12 bits for each sub-vector of       1 (S)                         S * table[u * group +
//             group coordinates, LSB first                                            c % group], u: c / group
//
// S is one f16, or for codes with a gain one byte that holds k + 8 of S = 2^(k / 4), k = -8..7 (pages keep
// two gains in a byte), or absent (S = 1). head_dim counts the coordinates that are coded: a mixed code may
// have fewer than the vector (the transform in front of it leaves out what gets no bits).
//
// "LSB first": code c takes bits [c * bits, (c + 1) * bits) of the vector's bit string, bit i being bit i % 8
// of byte i / 8. A vector's codes start on a byte; unused bits of the last byte are zero.
//
// The trellis runs of a mixed code are one cyclic string: the bits of a run go on in the next trellis run,
// those of the last one in the first. If there are several, each has a multiple of 8 coordinates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace veloxquant {

enum class CodeKind : std::uint8_t {
  f32,
  f16,
  bf16,
  fp8_e4m3,
  integer,
  affine,
  scalar,
  trellis,
  mixed,
  product
};
const char* to_string(CodeKind kind) noexcept;

// The factor of a whole vector in codes of kind scalar, trellis, mixed and product.
enum class VectorScale : std::uint8_t { none, f16, gain };
inline constexpr int kGainSteps = 16;  // a gain is one of 2^((u - 8) / 4), u = 0..15
float gain_value(int u) noexcept;

// Consecutive coordinates of one width in a mixed code.
struct CodeRun {
  CodeKind kind = CodeKind::scalar;  // or trellis
  int bits = 0;
  int count = 0;
  std::shared_ptr<const std::vector<float>> table{};  // scalar: 2^bits values; trellis: 256 values

  std::size_t code_bytes() const noexcept {
    return (static_cast<std::size_t>(count) * static_cast<std::size_t>(bits) + 7) / 8;
  }
};

struct CodeSpec {
  CodeKind kind = CodeKind::f32;
  int bits = 32;
  int head_dim = 0;
  int group = 0;  // integer, affine; product: coordinates of a sub-vector
  // scalar: 2^bits values; trellis: 256 values; product: 2^bits centroids of `group` values
  std::shared_ptr<const std::vector<float>> table;
  VectorScale vector_scale = VectorScale::f16;  // scalar, trellis, mixed, product
  std::vector<CodeRun> runs{};                  // mixed

  // Where the string of a trellis code goes on if it is a run among others of a mixed code: in so many bytes,
  // so far from its own in a row. `bytes` is 0 if it goes on at its own begin.
  struct Continuation {
    std::ptrdiff_t offset = 0;
    std::size_t bytes = 0;
  };
  Continuation behind{};

  // Bytes of one vector's codes: ceil(head_dim * bits / 8), product: ceil(head_dim / group * bits / 8),
  // mixed: the sum over the runs; and of its scales.
  std::size_t code_bytes() const noexcept;
  std::size_t scale_bytes() const noexcept;
  double bits_per_element() const noexcept {
    return 8.0 * static_cast<double>(code_bytes() + scale_bytes()) / head_dim;
  }
  // One factor for the whole vector, which kernels apply to the score or to the weight instead of to each
  // value.
  bool has_vector_scale() const noexcept {
    return kind >= CodeKind::scalar && vector_scale != VectorScale::none;
  }
  // Values that the table has: 0 where the code has none (a mixed code's runs have theirs).
  std::size_t table_size() const noexcept;
  // Run i of a mixed code as a code of its own, without scale.
  CodeSpec of_run(std::size_t i) const;
  // Whether that is no code without its neighbours.
  bool is_part() const noexcept { return behind.bytes > 0; }
  // "scalar 4 bit", "affine 4 bit group 64", ...
  std::string name() const;
};

}  // namespace veloxquant
