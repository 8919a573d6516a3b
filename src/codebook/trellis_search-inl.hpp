// Steps of the Viterbi search through the elements of one width. Included once per CPU target.
//
// Window w = g << k | a is reached from the windows whose group, their bits behind those of their own
// element, equals the low bits of w; only the best metric m[g] of each group is carried along:
//     m'[g] = min over a of  m[(g << k | a) mod B] + cost(x - values[g << k | a])
// with G = 2^(8-k) groups g and B groups before the element: G too, but at the first element of a run the
// groups of the width before it.
//
// Which branch won is kept for the way back, its number being the element's bits in the string: a byte with
// the group it comes from, or, where comparisons give bit masks, the masks of the tournament between the
// branches.
#if defined(VELOXQUANT_CODEBOOK_TRELLIS_SEARCH_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef VELOXQUANT_CODEBOOK_TRELLIS_SEARCH_INL
#undef VELOXQUANT_CODEBOOK_TRELLIS_SEARCH_INL
#else
#define VELOXQUANT_CODEBOOK_TRELLIS_SEARCH_INL
#endif

#include "codebook/trellis_lanes-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace veloxquant::trellis::HWY_NAMESPACE {

inline constexpr int kAbreast = 3;  // cycles of a short string

template <int k>
struct Search : Lanes<k> {
  using Own = Lanes<k>;
  using Own::deal_groups, Own::least, Own::load, Own::load_repeated, Own::low_bits;
  using Own::kBranches, Own::kGroups, Own::kLanes, Own::kMasks, Own::kTableVectors, Own::kTraceBytes,
      Own::kVectors, Own::kWords;
  using typename Own::Dealt, typename Own::DealtWindows, typename Own::SignedTag, typename Own::Tag,
      typename Own::TraceTag, typename Own::V;

  struct Best {
    V cost;
    V origin;  // the group that the best path comes from
  };

  // at(t)(branch, j) is what element t costs on a branch into the groups of vector j: worked out as it is needed,
  class FreshCosts {
   public:
    HWY_INLINE FreshCosts(const std::int16_t* HWY_RESTRICT table, const std::int16_t* HWY_RESTRICT x)
        : table_(table), x_(x) {}
    struct Element {
      const std::int16_t* HWY_RESTRICT table;
      hn::Vec<SignedTag> x;
      HWY_INLINE hn::Vec<SignedTag> difference(int branch, int j) const {
        const auto d = hn::SaturatedSub(x, hn::Load(SignedTag(), table + branch * kGroups + j * kLanes));
        // Of narrower widths no difference is as large.
        if constexpr (k < 4) return d;
        return hn::Max(d, hn::Set(SignedTag(), static_cast<std::int16_t>(-kMostDifference)));
      }
      HWY_INLINE V operator()(int branch, int j) const {
        const auto d = difference(branch, j);
        return hn::BitCast(Tag(), hn::MulFixedPoint15(d, d));
      }
    };
    HWY_INLINE Element at(int t) const { return {table_, hn::Set(SignedTag(), x_[t])}; }

   private:
    const std::int16_t *table_, *x_;
  };
  // with weights,
  class WeightedCosts {
   public:
    HWY_INLINE WeightedCosts(const FreshCosts& costs, const std::int16_t* HWY_RESTRICT weights)
        : costs_(costs), weights_(weights) {}
    struct Element {
      typename FreshCosts::Element costs;
      hn::Vec<SignedTag> weight;
      HWY_INLINE V operator()(int branch, int j) const {
        const auto d = costs.difference(branch, j);
        const auto twice = hn::Max(hn::SaturatedAdd(d, d),
                                   hn::Set(SignedTag(), static_cast<std::int16_t>(-kMostDifference)));
        const auto weighted = hn::MulFixedPoint15(twice, weight);
        return hn::BitCast(Tag(), hn::MulFixedPoint15(weighted, weighted));
      }
    };
    HWY_INLINE Element at(int t) const { return {costs_.at(t), hn::Set(SignedTag(), weights_[t])}; }

   private:
    FreshCosts costs_;
    const std::int16_t* weights_;
  };
  // or kept, for strings that are searched many times.
  class KeptCosts {
   public:
    HWY_INLINE explicit KeptCosts(const std::uint16_t* memory) : memory_(memory) {}
    template <class Costs>
    static HWY_NOINLINE void keep(const Costs costs, int count, std::uint16_t* HWY_RESTRICT memory) {
      for (int t = 0; t < count; ++t, memory += 256) {
        const auto element = costs.at(t);
        for (int branch = 0; branch < kBranches; ++branch) {
          for (int j = 0; j < kVectors; ++j)
            hn::Store(element(branch, j), Tag(), memory + branch * kGroups + j * kLanes);
        }
      }
    }
    struct Element {
      const std::uint16_t* HWY_RESTRICT memory;
      HWY_INLINE V operator()(int branch, int j) const {
        return hn::Load(Tag(), memory + branch * kGroups + j * kLanes);
      }
    };
    HWY_INLINE Element at(int t) const { return {memory_ + t * 256}; }

   private:
    const std::uint16_t* memory_;
  };

  // The best of branches [first, first + count) into the groups of vector j by an element of these costs; the lower branch
  // wins a tie. Games of the tournament are numbered like the nodes of a heap. `trace`, if traced, is that of
  // the element.
  template <bool traced, int first, int count, int game = 1, class Before, class Costs>
  static HWY_INLINE Best best(const Before& metrics, const Before& groups, const Costs& costs, int j,
                              std::uint8_t* HWY_RESTRICT trace) {
    if constexpr (count == 1) {
      return {hn::SaturatedAdd(metrics.at(first, j), costs(first, j)), groups.at(first, j)};
    } else {
      constexpr int kHalf = count / 2;
      const Best low = best<traced, first, kHalf, 2 * game>(metrics, groups, costs, j, trace);
      const Best high = best<traced, first + kHalf, kHalf, 2 * game + 1>(metrics, groups, costs, j, trace);
      const V cost = hn::Min(low.cost, high.cost);
      if constexpr (!traced) return {cost, cost};
      if constexpr (kMasks) {
        const std::size_t word = (game - 1) * kWords + static_cast<std::size_t>(j * kLanes / 64);
        hn::StoreMaskBits(Tag(), hn::Lt(high.cost, low.cost),
                          trace + word * kTogether * 8 + j * kLanes % 64 / 8);
        return {cost, cost};
      } else {
        return {cost, hn::IfThenElse(hn::Eq(cost, low.cost), low.origin, high.origin)};
      }
    }
  }

  // One element.
  template <bool traced, class Before, class Costs>
  static HWY_INLINE void step(const Before& before, const Before& groups, const Costs& costs,
                              V (&metrics)[kVectors], std::uint8_t* HWY_RESTRICT trace) {
    for (int j = 0; j < kVectors; ++j) {
      const Best winner = best<traced, 0, kBranches>(before, groups, costs, j, trace);
      metrics[j] = winner.cost;
      if constexpr (traced && !kMasks) {
        const auto from = hn::DemoteTo(TraceTag(), hn::BitCast(SignedTag(), winner.origin));
        hn::Store(from, TraceTag(), trace + j * kLanes);
      }
    }
  }

  // The first element of a run behind one of fewer bits.
  template <bool traced, class Costs>
  static HWY_INLINE void enter(const std::uint16_t* HWY_RESTRICT in, int groups_before, const Costs& costs,
                               V (&metrics)[kVectors], std::uint8_t* HWY_RESTRICT trace) {
    V by_window[kTableVectors];
    for (int j = 0; j < kTableVectors; ++j) by_window[j] = hn::Load(Tag(), in + j * kLanes % groups_before);
    DealtWindows before, groups;
    Own::template deal<k, kTableVectors>(by_window, before.vectors);
    for (int branch = 0; branch < kBranches; ++branch) {
      for (int j = 0; j < kVectors; ++j)
        groups.vectors[branch * kVectors + j] =
            traced && !kMasks ? low_bits(branch, j, groups_before) : hn::Zero(Tag());
    }
    step<traced>(before, groups, costs.at(0), metrics, trace);
  }

  static constexpr bool time_to_renormalize(int t) { return t % kRenormalizeEvery == kRenormalizeEvery - 1; }
  // Subtracts the least metric and returns it.
  static HWY_INLINE std::uint32_t renormalize(V (&metrics)[kVectors]) {
    const V lowest = least(metrics);
    for (int j = 0; j < kVectors; ++j) metrics[j] = hn::Sub(metrics[j], lowest);
    return hn::GetLane(lowest);
  }

  // Runs over `count` elements and fills the trace, if one is wanted. Metrics of `groups_before` groups go in
  // as they are before the first element and come out as they are after the last, less the number returned.
  template <bool traced, class Costs>
  static HWY_NOINLINE std::uint32_t run(const Costs costs, int count, int groups_before,
                                        std::uint16_t* HWY_RESTRICT in_out,
                                        std::uint8_t* HWY_RESTRICT trace) {
    V metrics[kVectors];
    int t = 0;
    if (groups_before > kGroups) {
      enter<traced>(in_out, groups_before, costs, metrics, trace);
      trace += traced ? kTraceBytes : 0;
      t = 1;
    } else if (groups_before < kGroups) {
      load_repeated(in_out, groups_before, metrics);
    } else {
      load(in_out, metrics);
    }
    Dealt groups;
    if constexpr (traced && !kMasks) {
      V numbers[kVectors];
      for (int j = 0; j < kVectors; ++j) numbers[j] = hn::Iota(Tag(), static_cast<std::uint16_t>(j * kLanes));
      deal_groups(numbers, groups);
    } else {
      for (V& unused : groups.vectors) unused = hn::Zero(Tag());
    }
    std::uint32_t subtracted = 0;
    for (; t < count; ++t, trace += traced ? kTraceBytes : 0) {
      Dealt before;
      deal_groups(metrics, before);
      step<traced>(before, groups, costs.at(t), metrics, trace);
      if (time_to_renormalize(t)) subtracted += renormalize(metrics);
    }
    if (!time_to_renormalize(count - 1)) subtracted += renormalize(metrics);
    for (int j = 0; j < kVectors; ++j) hn::Store(metrics[j], Tag(), in_out + j * kLanes);
    return subtracted;
  }

  // run() of kAbreast metrics, each with its own sum of what is subtracted. A step waits for the one before
  // it; side by side the cycles fill each other's waits.
  static HWY_NOINLINE void run_abreast(const KeptCosts costs, int count, int groups_before,
                                       std::uint16_t (*HWY_RESTRICT in_out)[128],
                                       std::uint32_t (&cost)[kAbreast]) {
    V metrics[kAbreast][kVectors];
    int t = 0;
    for (int c = 0; c < kAbreast; ++c) {
      if (groups_before > kGroups) {
        enter<false>(in_out[c], groups_before, costs, metrics[c], nullptr);
        t = 1;
      } else {
        load_repeated(in_out[c], groups_before, metrics[c]);
      }
    }
    for (; t < count; ++t) {
      for (int c = 0; c < kAbreast; ++c) {
        Dealt before;
        deal_groups(metrics[c], before);
        step<false>(before, before, costs.at(t), metrics[c], nullptr);
      }
      if (!time_to_renormalize(t)) continue;
      for (int c = 0; c < kAbreast; ++c) cost[c] += renormalize(metrics[c]);
    }
    for (int c = 0; c < kAbreast; ++c) {
      if (!time_to_renormalize(count - 1)) cost[c] += renormalize(metrics[c]);
      for (int j = 0; j < kVectors; ++j) hn::Store(metrics[c][j], Tag(), in_out[c] + j * kLanes);
    }
  }
};

}  // namespace veloxquant::trellis::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
