#include "pack/pack_rows.hpp"

#include <cstring>

#include "core/dispatch.hpp"
#include "pack/bits.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "pack/pack_rows.cpp"
#define HWY_WANT_AVX3_DL
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace veloxquant::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// pack8() of bits.hpp in each 64-bit lane.
template <int bits, class D>
HWY_INLINE hn::Vec<D> pack8_lanes(D d, hn::Vec<D> words) {
  constexpr int kGap = 8 - bits;
  if constexpr (kGap == 0) return words;
  const auto pushed = [&](hn::Vec<D> v, std::uint64_t kept, auto distance) HWY_ATTR {
    const auto low = hn::And(v, hn::Set(d, kept));
    return hn::Or(low, hn::ShiftRight<decltype(distance)::value>(hn::AndNot(hn::Set(d, kept), v)));
  };
  words = pushed(words, 0x00ff00ff00ff00ffu, std::integral_constant<int, kGap>());
  words = pushed(words, 0x0000ffff0000ffffu, std::integral_constant<int, 2 * kGap>());
  return pushed(words, 0x00000000ffffffffu, std::integral_constant<int, 4 * kGap>());
}

template <int bits>
HWY_INLINE void pack(const std::uint8_t* HWY_RESTRICT codes, std::size_t count,
                     std::uint8_t* HWY_RESTRICT packed) {
  const hn::CappedTag<std::uint64_t, 8> d;
  const hn::Repartition<std::uint8_t, decltype(d)> d8;
  const std::size_t step = hn::Lanes(d8);
  // Words are stored one by one, each over the excess of the one before; that of the last must not be stored.
  constexpr std::size_t kStored = bits <= 2 ? bits : bits <= 4 ? 4 : 8;
  HWY_ALIGN std::uint64_t words[8];
  for (; count >= step + (kStored == bits ? 0 : 8); count -= step, codes += step) {
    hn::Store(pack8_lanes<bits>(d, hn::BitCast(d, hn::LoadU(d8, codes))), d, words);
    for (std::size_t i = 0; i < step / 8; ++i, packed += bits) std::memcpy(packed, &words[i], kStored);
  }
  pack_codes(codes, static_cast<int>(count), bits, packed);
}

void pack_run(const std::uint8_t* codes, std::size_t count, int bits, std::uint8_t* packed) {
  switch (bits) {
    case 1:
      return pack<1>(codes, count, packed);
    case 2:
      return pack<2>(codes, count, packed);
    case 3:
      return pack<3>(codes, count, packed);
    case 4:
      return pack<4>(codes, count, packed);
    case 5:
      return pack<5>(codes, count, packed);
    case 6:
      return pack<6>(codes, count, packed);
    case 7:
      return pack<7>(codes, count, packed);
    default:
      std::memcpy(packed, codes, count);
  }
}

void pack_rows(const std::uint8_t* codes, std::size_t rows, int count, int bits, std::uint8_t* packed) {
  // Rows that end with a byte are one long row.
  const auto width = static_cast<std::size_t>(count);
  if (count * bits % 8 == 0) return pack_run(codes, rows * width, bits, packed);
  for (std::size_t i = 0; i < rows; ++i, codes += count, packed += packed_bytes(count, bits))
    pack_run(codes, width, bits, packed);
}

}  // namespace veloxquant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(pack_rows);

void pack_rows(const std::uint8_t* codes, std::size_t rows, int count, int bits, std::uint8_t* packed) {
  if (rows == 0) return;  // the buffers of no rows may be null
  VELOX_DISPATCH(pack_rows)(codes, rows, count, bits, packed);
}

}  // namespace veloxquant
#endif
