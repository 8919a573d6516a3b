// The rows of the Unicode Character Database that Normalization Form C is made of.
#pragma once

#include <cstdint>
#include <span>

namespace veloxquant::tokenizing {

struct Decomposition {
  std::uint32_t composite, first, second;  // second is 0 in a singleton
};

struct CombiningRange {
  std::uint32_t first, last, combining_class;  // code points first..last have this class
};

std::span<const Decomposition> composing_decompositions() noexcept;  // sorted by composite
std::span<const Decomposition> one_way_decompositions() noexcept;    // sorted by composite
std::span<const CombiningRange> combining_ranges() noexcept;         // sorted, disjoint

}  // namespace veloxquant::tokenizing
