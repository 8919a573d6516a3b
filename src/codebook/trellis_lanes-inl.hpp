// Groups of windows in vector registers: dealing what is known of them to the branches that lead from one
// element to the next (trellis_search-inl.hpp). Included once per CPU target.
//
// Lanes are groups. For a fixed branch `a` the groups needed are every 2^k-th one from a on, repeated 2^k
// times, which k rounds of even/odd splitting deliver, or one permutation where there is one of 16-bit lanes.
#if defined(VELOXQUANT_CODEBOOK_TRELLIS_LANES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef VELOXQUANT_CODEBOOK_TRELLIS_LANES_INL
#undef VELOXQUANT_CODEBOOK_TRELLIS_LANES_INL
#else
#define VELOXQUANT_CODEBOOK_TRELLIS_LANES_INL
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "codebook/trellis_search.hpp"

HWY_BEFORE_NAMESPACE();
namespace veloxquant::trellis::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Of the groups of k bits an element.
template <int k>
struct Lanes {
  static constexpr int kGroups = 256 >> k;
  static constexpr int kBranches = 1 << k;
  using Tag = hn::CappedTag<std::uint16_t, kGroups>;
  using SignedTag = hn::RebindToSigned<Tag>;
  using TraceTag = hn::Rebind<std::uint8_t, Tag>;
  using V = hn::Vec<Tag>;
  static constexpr int kLanes = static_cast<int>(hn::MaxLanes(Tag()));
  static constexpr int kVectors = kGroups / kLanes;
  static constexpr int kTableVectors = 256 / kLanes;
  static constexpr bool kWide = HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86 && kGroups >= 32;  // 512-bit registers
  // Tournaments of few branches are kept as masks; of many, the groups cost less.
  static constexpr bool kMasks = kWide && k <= 2;
  // The trace of an element: of each vector a byte for each group; or, of all vectors together, for each
  // game of the tournament and each 64 groups the words of the vectors.
  static constexpr std::size_t kWords = (kGroups + 63) / 64;
  static constexpr std::size_t kTraceStep = kMasks ? 8 : kGroups;  // from one vector to the next
  static constexpr std::size_t kTraceBytes = kTogether * kTraceStep * (kMasks ? (kBranches - 1) * kWords : 1);

  // Something known of every group, dealt to the branches: vectors a * kPeriod onwards belong to the groups
  // that lead into branch a, and repeat for groups beyond them.
  static constexpr int kPeriod = kVectors > kBranches ? kVectors / kBranches : 1;
  struct Dealt {
    HWY_INLINE Dealt() {}  // written down, since only then it is compiled for the target
    V vectors[kBranches * kPeriod];
    HWY_INLINE const V& at(int branch, int j) const { return vectors[branch * kPeriod + j % kPeriod]; }
  };
  // The same of every window, which knows no repetition.
  struct DealtWindows {
    HWY_INLINE DealtWindows() {}
    V vectors[kTableVectors];
    HWY_INLINE const V& at(int branch, int j) const { return vectors[branch * kVectors + j]; }
  };

  // Deals the elements of `count` vectors, taken as repeating for ever, to 2^rounds lists: element i goes to
  // list i mod 2^rounds. In the recursion, `in` is what fell to `list` when there were `lists` of them.
  template <int rounds, int count, int list = 0, int lists = 1>
  static HWY_INLINE void deal(const V* in, V* out) {
    if constexpr (rounds == 0) {
      for (int i = 0; i < count; ++i) out[list * count + i] = in[i];
    } else {
      constexpr int kHalf = count > 1 ? count / 2 : 1;
      V even[kHalf];
      V odd[kHalf];
      for (int i = 0; i < kHalf; ++i) {
        const V& low = in[2 * i % count];
        const V& high = in[(2 * i + 1) % count];
        even[i] = hn::ConcatEven(Tag(), high, low);
        odd[i] = hn::ConcatOdd(Tag(), high, low);
      }
      deal<rounds - 1, kHalf, list, lists * 2>(even, out);
      deal<rounds - 1, kHalf, list + lists, lists * 2>(odd, out);
    }
  }

  static HWY_INLINE void deal_groups(const V (&in)[kVectors], Dealt& out) {
    if constexpr (kGroups == kBranches) {  // one group leads into each branch: a broadcast
      HWY_ALIGN std::uint16_t lanes[kGroups];
      for (int j = 0; j < kVectors; ++j) hn::Store(in[j], Tag(), lanes + j * kLanes);
      for (int a = 0; a < kBranches; ++a) out.vectors[a] = hn::Set(Tag(), lanes[a]);
    } else if constexpr (kWide && kVectors <= 2) {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
      for (int a = 0; a < kBranches; ++a) {
        const V from = low_bits(a, 0, kGroups);
        out.vectors[a] = V{_mm512_permutex2var_epi16(in[0].raw, from.raw, in[kVectors - 1].raw)};
      }
#endif
    } else {
      deal<k, kVectors>(in, out.vectors);
    }
  }

  // (g << k | branch) mod `before` for the groups of vector j.
  static HWY_INLINE V low_bits(int branch, int j, int before) {
    const auto windows = hn::Add(hn::ShiftLeft<k>(hn::Iota(Tag(), static_cast<std::uint16_t>(j * kLanes))),
                                 hn::Set(Tag(), static_cast<std::uint16_t>(branch)));
    return hn::And(windows, hn::Set(Tag(), static_cast<std::uint16_t>(before - 1)));
  }

  // values[g << k | a], in the search's units, in the order of branches, then groups.
  static HWY_INLINE void deal_table(const std::int16_t* HWY_RESTRICT values,
                                    std::int16_t* HWY_RESTRICT table) {
    const SignedTag d;
    V by_window[kTableVectors];
    V by_branch[kTableVectors];
    for (int j = 0; j < kTableVectors; ++j) {
      auto value = hn::LoadU(d, values + j * kLanes);
      if constexpr (k == 4) value = hn::Add(value, value);
      if constexpr (k < 3) value = hn::ShiftRight<3 - k>(hn::Add(value, hn::Set(d, 1 << (2 - k))));
      by_window[j] = hn::BitCast(Tag(), value);
    }
    deal<k, kTableVectors>(by_window, by_branch);
    for (int j = 0; j < kTableVectors; ++j) hn::Store(hn::BitCast(d, by_branch[j]), d, table + j * kLanes);
  }

  // x[t] = z[t] in the search's units, rounded to nearest even and limited.
  static HWY_INLINE void quantize_input(const float* HWY_RESTRICT z, int n, std::int16_t* HWY_RESTRICT x) {
    const hn::CappedTag<float, 8> d;
    const hn::Rebind<std::int16_t, decltype(d)> d16;
    const int lanes = static_cast<int>(hn::Lanes(d));
    const auto limit = hn::Set(d, static_cast<float>(search_limit(k)));
    for (int t = 0; t < n; t += lanes) {
      const int at = HWY_MIN(t, n - lanes);
      const auto raw = hn::LoadU(d, z + at);
      const auto number = hn::IfThenElseZero(hn::Eq(raw, raw), raw);
      const auto units = hn::Mul(number, hn::Set(d, search_scale(k)));
      const auto limited = hn::Min(hn::Max(units, hn::Neg(limit)), limit);
      hn::StoreU(hn::DemoteTo(d16, hn::NearestInt(limited)), d16, x + at);
    }
  }

  static HWY_INLINE V least(const V (&metrics)[kVectors]) {
    V lowest = metrics[0];
    for (int j = 1; j < kVectors; ++j) lowest = hn::Min(lowest, metrics[j]);
#if HWY_TARGET <= HWY_SSE4 && HWY_ARCH_X86
    return hn::Set(Tag(), least_lane(Tag(), lowest));
#else
    return hn::MinOfLanes(Tag(), lowest);
#endif
  }

#if HWY_TARGET <= HWY_SSE4 && HWY_ARCH_X86
  // Halves of the vector against each other down to the instruction that knows the least of 8 lanes.
  template <class D>
  static HWY_INLINE std::uint16_t least_lane(D d, hn::Vec<D> v) {
    if constexpr (hn::MaxLanes(D()) > 8) {
      const hn::Half<D> half;
      return least_lane(half, hn::Min(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
    } else {
      static_assert(hn::MaxLanes(D()) == 8);
      (void)d;
      return static_cast<std::uint16_t>(_mm_extract_epi16(_mm_minpos_epu16(v.raw), 0));
    }
  }
#endif

  static HWY_INLINE void load(const std::uint16_t* HWY_RESTRICT from, V (&metrics)[kVectors]) {
    for (int j = 0; j < kVectors; ++j) metrics[j] = hn::Load(Tag(), from + j * kLanes);
  }
  // The first group with the lowest metric.
  static HWY_INLINE int first_lowest(const std::uint16_t* HWY_RESTRICT from) {
    V metrics[kVectors];
    load(from, metrics);
    const V lowest = least(metrics);
    for (int j = 0;; ++j) {
      const auto at = hn::FindFirstTrue(Tag(), hn::Eq(metrics[j], lowest));
      if (at >= 0) return j * kLanes + static_cast<int>(at);
    }
  }
  // Metrics of fewer groups stand for the groups whose low bits they know.
  static HWY_INLINE void load_repeated(const std::uint16_t* HWY_RESTRICT from, int groups_before,
                                       V (&metrics)[kVectors]) {
    HWY_ALIGN std::uint16_t repeated[kGroups];
    for (int g = 0; g < kGroups; g += groups_before)
      std::memcpy(repeated + g, from, static_cast<std::size_t>(groups_before) * sizeof(std::uint16_t));
    load(repeated, metrics);
  }
};

}  // namespace veloxquant::trellis::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
