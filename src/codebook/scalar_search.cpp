// The nearest values of a scalar codebook, many coordinates at once.
#include <algorithm>
#include <type_traits>

#include "codebook/scalar_table.hpp"
#include "core/dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codebook/scalar_search.cpp"
#define HWY_WANT_AVX3_DL
// Tables are held in registers of known length; Arm CPUs with vectors of unknown length run the NEON code.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace veloxquant::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::CappedTag<float, 16>;
using Integers = hn::RebindToSigned<Floats>;
using FloatVector = hn::Vec<Floats>;
using IntegerVector = hn::Vec<Integers>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(Floats()));

// The level of |x| among `half` positive values, which is the number of thresholds below it, and the value
// of the level: by halving the values that are left, where a register holds them all.
template <int half>
class HalvingSearch {
 public:
  explicit HWY_INLINE HalvingSearch(const ScalarTable& table)
      : values_(hn::LoadU(Floats(), table.positive_values.data())) {
    for (std::size_t i = 0; i < table.halvings.size(); ++i)
      thresholds_[i] = hn::LoadU(Floats(), table.halvings[i].data());
  }
  HWY_INLINE IntegerVector level(FloatVector magnitude) const {
    const Integers di;
    auto level = hn::Zero(di);
    for (int i = 0; i < 3; ++i) {
      const int step = 4 >> i;
      if (step >= half) continue;
      const auto threshold = hn::TableLookupLanes(thresholds_[i], hn::IndicesFromVec(Floats(), level));
      const auto beyond = hn::RebindMask(di, hn::Gt(magnitude, threshold));
      level = hn::IfThenElse(beyond, hn::Or(level, hn::Set(di, step)), level);
    }
    return level;
  }
  HWY_INLINE FloatVector value(IntegerVector level) const {
    return hn::TableLookupLanes(values_, hn::IndicesFromVec(Floats(), level));
  }

 private:
  FloatVector values_;
  FloatVector thresholds_[3];  // ScalarTable::halvings
};

// The same where a register is too short: by comparing with all thresholds.
template <int half>
class CountingSearch {
 public:
  explicit HWY_INLINE CountingSearch(const ScalarTable& table) {
    for (int i = 0; i < half; ++i) {
      thresholds_[i] = hn::Set(Floats(), table.levels[static_cast<std::size_t>(i)]);
      values_[i] = hn::Set(Floats(), (*table.centroids)[static_cast<std::size_t>(half + i)]);
    }
  }
  HWY_INLINE IntegerVector level(FloatVector magnitude) const {
    const Integers di;
    auto level = hn::Zero(di);
    for (int i = 0; i + 1 < half; ++i) {
      const auto beyond = hn::RebindMask(di, hn::Gt(magnitude, thresholds_[i]));
      level = hn::Sub(level, hn::VecFromMask(di, beyond));
    }
    return level;
  }
  HWY_INLINE FloatVector value(IntegerVector level) const {
    auto value = values_[0];
    for (int i = 1; i < half; ++i) {
      const auto reached = hn::Gt(level, hn::Set(Integers(), i - 1));
      value = hn::IfThenElse(hn::RebindMask(Floats(), reached), values_[i], value);
    }
    return value;
  }

 private:
  FloatVector thresholds_[half], values_[half];
};

template <int half>
HWY_INLINE void search(const ScalarTable& table, const float* HWY_RESTRICT x, int count,
                       std::uint8_t* HWY_RESTRICT index, float* HWY_RESTRICT y) {
  const Floats d;
  const Integers di;
  const hn::RebindToUnsigned<Floats> du;
  const hn::Rebind<std::uint8_t, Floats> d8;
  const std::conditional_t<(half <= kLanes), HalvingSearch<half>, CountingSearch<half>> among(table);
  int c = 0;
  for (; c + kLanes <= count; c += kLanes) {
    const auto v = hn::LoadU(d, x + c);
    const auto level = among.level(hn::Abs(v));
    // Negative numbers mirror the level, as sign_mask() has it.
    const auto mirrored = hn::Xor(level, hn::BroadcastSignBit(hn::BitCast(di, v)));
    hn::StoreU(hn::U8FromU32(hn::BitCast(du, hn::Add(mirrored, hn::Set(di, half)))), d8, index + c);
    hn::StoreU(hn::CopySignToAbs(among.value(level), v), d, y + c);
  }
  for (; c < count; ++c) {
    index[c] = table.index(x[c]);
    y[c] = (*table.centroids)[index[c]];
  }
}

// More values than registers hold: the look-ups of ScalarTable::index(). The arithmetic runs ahead of them,
// where it becomes vector instructions. The tables are held in locals because the byte stores could
// otherwise be suspected of changing the pointers to them.
HWY_INLINE void look_up(const ScalarTable& table, const float* HWY_RESTRICT x, int count,
                        std::uint8_t* HWY_RESTRICT index, float* HWY_RESTRICT y) {
  constexpr int kChunk = 64;
  int cells[kChunk];
  const float per_unit = table.cells_per_unit, last = table.last_cell;
  const std::uint8_t* const first_of = table.first_level.data();
  const float *const level_of = table.levels.data(), *const centroid = table.centroids->data();
  const unsigned half = table.half_count;
  for (int begin = 0; begin < count; begin += kChunk, x += kChunk, index += kChunk, y += kChunk) {
    const int here = std::min(kChunk, count - begin);
    for (int c = 0; c < here; ++c) {
      const float at = std::fabs(x[c]) * per_unit;
      cells[c] = static_cast<int>(at < last ? at : last);
    }
    for (int c = 0; c < here; ++c) {
      const unsigned first = first_of[cells[c]];
      const unsigned level = first + (std::fabs(x[c]) > level_of[first]);
      const unsigned nearest = half + (level ^ ScalarTable::sign_mask(x[c]));
      index[c] = static_cast<std::uint8_t>(nearest);
      y[c] = centroid[nearest];
    }
  }
}

void quantize(const ScalarTable& table, const float* x, int count, std::uint8_t* index, float* y) {
  switch (table.half_count) {
    case 1:
      return search<1>(table, x, count, index, y);
    case 2:
      return search<2>(table, x, count, index, y);
    case 4:
      return search<4>(table, x, count, index, y);
    case 8:
      return search<8>(table, x, count, index, y);
    default:
      return look_up(table, x, count, index, y);
  }
}

}  // namespace veloxquant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(quantize);

void ScalarTable::quantize(const float* x, int count, std::uint8_t* index_out, float* y) const {
  VELOX_DISPATCH(quantize)(*this, x, count, index_out, y);
}

}  // namespace veloxquant
#endif
