// Plane order: scalar, affine and integer codes of 64 vectors in the order in which one 64-byte register
// holds operands of a dot product of bytes (four products a 32-bit lane).
//
// A code of b bits is cut into planes of 4, 2 and 1 bits, the low bits first (3 = 2 + 1, 7 = 4 + 2 + 1; 8
// bits are one plane of whole bytes). A line is 64 bytes; a plane of p bits has 8 / p fields a byte, field f
// being bits [f p, f p + p). Dimensions are taken 8 (keys) or 16 (values) at a
// time, so head_dim must be a multiple of that.
//
// Keys. A register is 4 dimensions (a quad) of 16 tokens (a group): byte j is dimension j % 4 of the quad and
// token j / 4 of the group, so that 32-bit lanes are tokens and four bytes of the query serve all of them.
// Eight dimensions (quads A and B) of 64 tokens (groups 0..3) are `b` lines, plane after plane:
//
//     p   lines   fields of the lines, low bits first
//     8     8     A0 | A1 | A2 | A3 | B0 | B1 | B2 | B3
//     4     4     A0 A1 | A2 A3 | B0 B1 | B2 B3
//     2     2     A0 A1 A2 A3 | B0 B1 B2 B3
//     1     1     A0 A1 A2 A3 B0 B1 B2 B3
//
//     4 bits, line 0:   byte 0                    byte 1              ...  byte 4
//                       low nibble  token 0 dim 0  token 0 dim 1            token 1 dim 0
//                       high nibble token 16 dim 0 token 16 dim 1           token 17 dim 0
//
// Values. A register is 16 dimensions of 4 tokens (a quad): byte j is dimension j / 4 of the 16 and token j %
// 4 of the quad, so that 32-bit lanes are dimensions and four weights serve all of them. 16 dimensions of 64
// tokens (quads 0..15) are 2 b lines, plane after plane, 16 p / 8 lines each: line l of a plane holds the
// quads l (8 / p), ... in its fields, low bits first.
//
//     4 bits, line 0:   byte 0                    byte 1              ...  byte 4
//                       low nibble  dim 0 token 0  dim 0 token 1            dim 1 token 0
//                       high nibble dim 0 token 4  dim 0 token 5            dim 1 token 4
//
// The bytes: keys (head_dim / 8) * b * 64, values (head_dim / 16) * 2 b * 64, both = 64 * head_dim * b / 8.
#pragma once

#include <memory>

#include "pack/block_order.hpp"

namespace veloxquant {

constexpr bool has_plane_order(int head_dim, Role role) noexcept {
  return head_dim % (role == Role::keys ? 8 : 16) == 0;
}

// Whether a code with scales for groups of dimensions stands in plane order: groups must be whole units of
// values.
inline bool has_group_order(const CodeSpec& spec) noexcept {
  return (spec.kind == CodeKind::affine || spec.kind == CodeKind::integer) &&
         has_plane_order(spec.head_dim, Role::values) && spec.group > 0 && spec.group % 16 == 0 &&
         spec.head_dim % spec.group == 0 && spec.head_dim / spec.group <= 32;
}

// Of a scalar, affine or integer code that has a plane order.
std::unique_ptr<const BlockOrder> plane_order(const CodeSpec& spec, Role role);

}  // namespace veloxquant
