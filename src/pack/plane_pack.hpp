// Packing into plane order (plane_order.hpp draws it).
#pragma once

#include <cstdint>

namespace veloxquant {

// 64 canonical rows of head_dim codes -> the codes of a block of keys, or of values.
void pack_key_planes(const std::uint8_t* codes, int head_dim, int bits, std::uint8_t* block);
void pack_value_planes(const std::uint8_t* codes, int head_dim, int bits, std::uint8_t* block);

}  // namespace veloxquant
