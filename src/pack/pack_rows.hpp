// Packing of many codes at once; bits.hpp draws the bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace veloxquant {

// pack_codes() of each of `rows` rows of `count` codes: [rows, count] -> [rows, packed_bytes(count, bits)].
void pack_rows(const std::uint8_t* codes, std::size_t rows, int count, int bits, std::uint8_t* packed);

}  // namespace veloxquant
