// Bit fields of a code to lanes, and table look-ups. Included once per CPU target.
#if defined(VELOXQUANT_ATTENTION_UNPACK_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef VELOXQUANT_ATTENTION_UNPACK_INL
#undef VELOXQUANT_ATTENTION_UNPACK_INL
#else
#define VELOXQUANT_ATTENTION_UNPACK_INL
#endif

#include "attention/vector_math-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {

using Words = hn::RebindToUnsigned<Floats>;
using WordVector = hn::Vec<Words>;

// Fields are read in blocks of 16, which begin on a byte for every distance between fields; a block's fields
// lie in its first 16 bytes. Field i of a block begins at bit i * Stride and so lies in at most two bytes,
// which a byte shuffle brings to lane i, and a shift by the lane's own count ends it.
template <int Stride>
struct FieldPlaces {
  alignas(64) std::uint8_t bytes[64];
  alignas(64) std::uint32_t shifts[16];

  constexpr FieldPlaces() : bytes(), shifts() {
    for (int i = 0; i < 16; ++i) {
      const int byte = i * Stride / 8;
      bytes[4 * i] = static_cast<std::uint8_t>(byte);
      bytes[4 * i + 1] =
          static_cast<std::uint8_t>(byte < 15 ? byte + 1 : 0x80);  // 0x80 stands for a zero byte
      bytes[4 * i + 2] = bytes[4 * i + 3] = 0x80;
      shifts[i] = static_cast<std::uint32_t>(i * Stride % 8);
    }
  }
};

template <int Stride>
inline constexpr FieldPlaces<Stride> kFieldPlaces{};

// Fields j * kLanes, ... of the 16 of Width bits, each Stride bits after the one before, that begin at
// `block`. Reads 16 bytes.
template <int Stride, int Width>
HWY_INLINE WordVector unpack_fields(const std::uint8_t* block, int j) {
  const Words d;
  const hn::Repartition<std::uint8_t, Words> d8;
  const auto gathered = hn::TableLookupBytesOr0(hn::LoadDup128(d8, block),
                                                hn::Load(d8, kFieldPlaces<Stride>.bytes + 4 * j * kLanes));
  const auto shifts = hn::Load(d, kFieldPlaces<Stride>.shifts + j * kLanes);
  return hn::And(hn::Shr(hn::BitCast(d, gathered), shifts), hn::Set(d, (1u << Width) - 1u));
}

// A table of 2^Bits floats: in one or two registers where it fits, else in memory.
template <int Bits>
class FloatTable {
 public:
  static constexpr int kSize = 1 << Bits;

  HWY_INLINE explicit FloatTable(const float* values) : values_(values) {
    if constexpr (kSize <= 2 * kLanes) {
      std::memcpy(padded_, values, sizeof(float) * kSize);
    }
  }

  HWY_INLINE FloatVector at(WordVector index) const {
    const Floats d;
    const hn::RebindToSigned<Floats> di;
    const auto i = hn::BitCast(di, index);
    if constexpr (kSize <= kLanes) {
      return hn::TableLookupLanes(hn::Load(d, padded_), hn::IndicesFromVec(d, i));
    } else if constexpr (kSize == 2 * kLanes) {
      const auto within = hn::IndicesFromVec(d, hn::And(i, hn::Set(di, kLanes - 1)));
      const auto upper = hn::RebindMask(d, hn::Gt(i, hn::Set(di, kLanes - 1)));
      return hn::IfThenElse(upper, hn::TableLookupLanes(hn::Load(d, padded_ + kLanes), within),
                            hn::TableLookupLanes(hn::Load(d, padded_), within));
    } else {
      return hn::GatherIndex(d, values_, i);
    }
  }

 private:
  const float* values_;
  alignas(64) float padded_[2 * kLanes] = {};
};

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();
#endif
