#include "pack/plane_pack.hpp"

#include <cstddef>
#include <cstring>
#include <type_traits>

#include "core/dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "pack/plane_pack.cpp"
#define HWY_WANT_AVX3_DL
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace veloxquant::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kTokens = 64;
constexpr std::size_t kLine = 64;

using Words = hn::CappedTag<std::uint64_t, 8>;

// unpack8() of bits.hpp in each 64-bit lane.
template <int bits>
HWY_INLINE hn::Vec<Words> unpack8_lanes(hn::Vec<Words> words) {
  if constexpr (bits == 8) {
    return words;
  } else {
    const Words d;
    constexpr int kGap = 8 - bits;
    constexpr std::uint64_t kFour = (std::uint64_t{1} << (4 * bits)) - 1;
    constexpr std::uint64_t kTwo = ((std::uint64_t{1} << (2 * bits)) - 1) * 0x0000000100000001u;
    constexpr std::uint64_t kOne = ((std::uint64_t{1} << bits) - 1) * 0x0001000100010001u;
    const auto pulled = [&](hn::Vec<Words> v, std::uint64_t kept, auto distance) HWY_ATTR {
      const auto mask = hn::Set(d, kept);
      return hn::Or(hn::And(v, mask), hn::ShiftLeft<decltype(distance)::value>(hn::AndNot(mask, v)));
    };
    words = pulled(words, kFour, std::integral_constant<int, 4 * kGap>());
    words = pulled(words, kTwo, std::integral_constant<int, 2 * kGap>());
    return pulled(words, kOne, std::integral_constant<int, kGap>());
  }
}

// Eight codes of each token, a byte each, from `codes` on in its row.
template <int bits>
HWY_INLINE void unpack_tile(const std::uint8_t* HWY_RESTRICT codes, std::size_t row_bytes,
                            std::uint64_t* HWY_RESTRICT tile) {
  const Words d;
  for (int t = 0; t < kTokens; ++t) {
    tile[t] = 0;
    std::memcpy(&tile[t], codes + static_cast<std::size_t>(t) * row_bytes, bits);
  }
  for (std::size_t t = 0; t < kTokens; t += hn::Lanes(d))
    hn::Store(unpack8_lanes<bits>(hn::Load(d, tile + t)), d, tile + t);
}

// The plane of `width` bits from bit `shift` on of the registers of a unit; returns where the next plane
// begins.
template <int registers, int shift, int width>
HWY_INLINE std::uint8_t* put_plane(const std::uint8_t* HWY_RESTRICT codes, std::uint8_t* HWY_RESTRICT lines) {
  constexpr int kFields = 8 / width;
  const hn::CappedTag<std::uint8_t, kLine> d;
  // Shifts of two bytes together, whose crossing bits the mask takes away.
  const hn::Repartition<std::uint16_t, decltype(d)> d16;
  const auto mask = hn::Set(d, static_cast<std::uint8_t>((1 << width) - 1));
  for (int line = 0; line < registers / kFields; ++line, codes += kFields * kLine, lines += kLine) {
    for (std::size_t at = 0; at < kLine; at += hn::Lanes(d)) {
      auto sum = hn::Zero(d);
      const auto add = [&](auto field) HWY_ATTR {
        constexpr int kField = decltype(field)::value;
        if constexpr (kField < kFields) {
          auto code = hn::BitCast(d16, hn::Load(d, codes + kField * kLine + at));
          if constexpr (shift > 0) code = hn::ShiftRight<shift>(code);
          const auto kept = hn::BitCast(d16, hn::And(hn::BitCast(d, code), mask));
          sum = hn::Or(sum, hn::BitCast(d, hn::ShiftLeft<width * kField % 8>(kept)));
        }
      };
      add(std::integral_constant<int, 0>());
      add(std::integral_constant<int, 1>());
      add(std::integral_constant<int, 2>());
      add(std::integral_constant<int, 3>());
      add(std::integral_constant<int, 4>());
      add(std::integral_constant<int, 5>());
      add(std::integral_constant<int, 6>());
      add(std::integral_constant<int, 7>());
      hn::Store(sum, d, lines + at);
    }
  }
  return lines;
}

template <int registers, int bits>
HWY_INLINE void put_planes(const std::uint8_t* codes, std::uint8_t* lines) {
  if constexpr (bits == 8) put_plane<registers, 0, 8>(codes, lines);
  if constexpr (bits < 8 && (bits & 4) != 0) lines = put_plane<registers, 0, 4>(codes, lines);
  if constexpr (bits < 8 && (bits & 2) != 0) lines = put_plane < registers, bits & 4, 2 > (codes, lines);
  if constexpr (bits < 8 && (bits & 1) != 0) put_plane<registers, bits & 6, 1>(codes, lines);
}

// Units of 8 dimensions. Registers 0..3 are the first four codes of all tokens, registers 4..7 the others.
template <int bits>
HWY_NOINLINE void pack_keys(const std::uint8_t* codes, int head_dim, std::uint8_t* block) {
  const Words d;
  const hn::Repartition<std::uint32_t, Words> d32;
  const auto row_bytes = static_cast<std::size_t>(head_dim * bits / 8);
  const std::size_t lanes = hn::Lanes(d);
  HWY_ALIGN std::uint64_t tile[kTokens];
  HWY_ALIGN std::uint32_t registers[2 * kTokens];
  for (std::size_t at = 0; at < row_bytes; at += bits, block += bits * kLine) {
    unpack_tile<bits>(codes + at, row_bytes, tile);
    for (std::size_t t = 0; t < kTokens; t += 2 * lanes) {
      const auto low = hn::BitCast(d32, hn::Load(d, tile + t));
      const auto high = hn::BitCast(d32, hn::Load(d, tile + t + lanes));
      hn::Store(hn::ConcatEven(d32, high, low), d32, registers + t);
      hn::Store(hn::ConcatOdd(d32, high, low), d32, registers + kTokens + t);
    }
    put_planes<8, bits>(reinterpret_cast<const std::uint8_t*>(registers), block);
  }
}

// Units of 16 dimensions. Register k is the codes of tokens 4 k .. 4 k + 3, dimension by dimension.
template <int bits>
HWY_NOINLINE void pack_values(const std::uint8_t* codes, int head_dim, std::uint8_t* block) {
  const hn::FixedTag<std::uint8_t, 16> d;
  const hn::FixedTag<std::uint16_t, 8> d16;
  const auto row_bytes = static_cast<std::size_t>(head_dim * bits / 8);
  HWY_ALIGN static constexpr std::uint8_t kPairs[16] = {0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15};
  const auto pairs = hn::Load(d, kPairs);
  HWY_ALIGN std::uint64_t tile[kTokens];
  HWY_ALIGN std::uint8_t registers[16 * kLine];
  for (std::size_t at = 0; at < row_bytes; at += 2 * bits, block += 2 * bits * kLine) {
    for (std::size_t half = 0; half < 2; ++half) {
      unpack_tile<bits>(codes + at + half * bits, row_bytes, tile);
      const auto* bytes = reinterpret_cast<const std::uint8_t*>(tile);
      std::uint8_t* to = registers + 32 * half;
      for (int k = 0; k < 16; ++k, bytes += 32, to += kLine) {
        // Two tokens a vector: their codes of a dimension side by side, then those of all four.
        const auto a = hn::BitCast(d16, hn::TableLookupBytes(hn::Load(d, bytes), pairs));
        const auto b = hn::BitCast(d16, hn::TableLookupBytes(hn::Load(d, bytes + 16), pairs));
        hn::Store(hn::BitCast(d, hn::InterleaveLower(d16, a, b)), d, to);
        hn::Store(hn::BitCast(d, hn::InterleaveUpper(d16, a, b)), d, to + 16);
      }
    }
    put_planes<16, bits>(registers, block);
  }
}

template <bool keys, int bits>
void pack_planes(const std::uint8_t* codes, int head_dim, int wanted, std::uint8_t* block) {
  if constexpr (bits > 1) {
    if (bits != wanted) return pack_planes<keys, bits - 1>(codes, head_dim, wanted, block);
  }
  if constexpr (keys) pack_keys<bits>(codes, head_dim, block);
  if constexpr (!keys) pack_values<bits>(codes, head_dim, block);
}

void pack_key_planes(const std::uint8_t* codes, int head_dim, int bits, std::uint8_t* block) {
  pack_planes<true, 8>(codes, head_dim, bits, block);
}

void pack_value_planes(const std::uint8_t* codes, int head_dim, int bits, std::uint8_t* block) {
  pack_planes<false, 8>(codes, head_dim, bits, block);
}

}  // namespace veloxquant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(pack_key_planes);
HWY_EXPORT(pack_value_planes);

void pack_key_planes(const std::uint8_t* codes, int head_dim, int bits, std::uint8_t* block) {
  VELOX_DISPATCH(pack_key_planes)(codes, head_dim, bits, block);
}

void pack_value_planes(const std::uint8_t* codes, int head_dim, int bits, std::uint8_t* block) {
  VELOX_DISPATCH(pack_value_planes)(codes, head_dim, bits, block);
}

}  // namespace veloxquant
#endif
