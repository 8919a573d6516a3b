// Vectorized tail-biting Viterbi search. Window w = g << k | a is reached from the windows whose group, their
// high 8 - k bits, equals the low 8 - k bits of w; only the best metric m[g] of each group is carried along:
//     m'[g] = min over a of  m[(g << k | a) mod G] + cost(x - values[g << k | a]),     G = 2^(8-k) groups.
// Lanes are groups. For a fixed branch `a` the metrics needed are every 2^k-th one from a on, repeated 2^k
// times, which k rounds of even/odd splitting deliver, or one permutation where there is one of 16-bit lanes.
//
// Which branch won is kept for the way back, its number being the element's bits in the stream: a byte with
// the group it comes from, or, where comparisons give bit masks, the masks of the tournament between the
// branches. The way back is a chain of look-ups that wait for each other, so several vectors walk it side
// by side.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codebook/trellis_encode.cpp"
#define HWY_WANT_AVX3_DL
// Vectors of unknown length cannot be held in arrays; Arm CPUs that have them run the NEON code.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#include <hwy/foreach_target.h>
// foreach_target.h comes first: it includes this file once for each target.
#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>
#include <type_traits>

#include "codebook/trellis.hpp"
#include "codebook/trellis_search.hpp"
#include "core/dispatch.hpp"

HWY_BEFORE_NAMESPACE();
namespace veloxquant::trellis::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// x[t] = z[t] in 1/4096, rounded to nearest even and limited.
HWY_INLINE void quantize_input(const float* HWY_RESTRICT z, int n, std::int16_t* HWY_RESTRICT x) {
  const hn::CappedTag<float, 8> d;
  const hn::Rebind<std::int16_t, decltype(d)> d16;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const auto limit = hn::Set(d, static_cast<float>(kLimit));
  for (int t = 0; t < n; t += lanes) {
    const int at = HWY_MIN(t, n - lanes);
    const auto raw = hn::LoadU(d, z + at);
    const auto number = hn::IfThenElseZero(hn::Eq(raw, raw), raw);
    const auto units = hn::Mul(number, hn::Set(d, kScale));
    const auto limited = hn::Min(hn::Max(units, hn::Neg(limit)), limit);
    hn::StoreU(hn::DemoteTo(d16, hn::NearestInt(limited)), d16, x + at);
  }
}

template <int k>
struct Search {
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
  static constexpr int kTogether = kMasks ? 4 : 2;  // vectors on their way back side by side
  static constexpr int kAbreast = 3;                // cycles of a short code
  // The trace of an element: of one vector a byte for each group; or, of all vectors together, for each
  // game of the tournament and each 64 groups the words of the vectors.
  static constexpr std::size_t kWords = (kGroups + 63) / 64;
  static constexpr std::size_t kTraceBytes = kMasks ? (kBranches - 1) * kWords * kTogether * 8 : kGroups;

  // Something known of every group, dealt to the branches: vectors a * kPeriod onwards belong to the groups
  // that lead into branch a, and repeat for groups beyond them.
  static constexpr int kPeriod = kVectors > kBranches ? kVectors / kBranches : 1;
  using Dealt = V[kBranches * kPeriod];

  struct Best {
    V cost;
    V origin;  // the group that the best path comes from
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
      for (int a = 0; a < kBranches; ++a) out[a] = hn::Set(Tag(), lanes[a]);
    } else if constexpr (kWide && kVectors <= 2) {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
      const auto number = hn::Iota(Tag(), 0);
      for (int a = 0; a < kBranches; ++a) {
        const V from =
            hn::And(hn::Add(hn::ShiftLeft<k>(number), hn::Set(Tag(), static_cast<std::uint16_t>(a))),
                    hn::Set(Tag(), static_cast<std::uint16_t>(kGroups - 1)));
        out[a] = V{_mm512_permutex2var_epi16(in[0].raw, from.raw, in[kVectors - 1].raw)};
      }
#endif
    } else {
      deal<k, kVectors>(in, out);
    }
  }

  // values[g << k | a] in the order of branches, then groups.
  static HWY_INLINE void deal_table(const std::int16_t* HWY_RESTRICT values,
                                    std::int16_t* HWY_RESTRICT table) {
    const SignedTag d;
    V by_window[kTableVectors];
    V by_branch[kTableVectors];
    for (int j = 0; j < kTableVectors; ++j)
      by_window[j] = hn::BitCast(Tag(), hn::LoadU(d, values + j * kLanes));
    deal<k, kTableVectors>(by_window, by_branch);
    for (int j = 0; j < kTableVectors; ++j) hn::Store(hn::BitCast(d, by_branch[j]), d, table + j * kLanes);
  }

  // What element t costs on branch `branch` into the groups of vector j: worked out as it is needed,
  class FreshCosts {
   public:
    HWY_INLINE FreshCosts(const std::int16_t* HWY_RESTRICT table, const std::int16_t* HWY_RESTRICT x)
        : table_(table), x_(x) {}
    HWY_INLINE V operator()(int t, int branch, int j) const {
      const auto value = hn::Load(SignedTag(), table_ + branch * kGroups + j * kLanes);
      const auto difference = hn::Sub(hn::Set(SignedTag(), x_[t]), value);
      const auto slope = k == kSharpBits ? hn::SaturatedAdd(difference, difference) : difference;
      return hn::BitCast(Tag(), hn::MulFixedPoint15(difference, slope));
    }

   private:
    const std::int16_t *table_, *x_;
  };
  // or kept, for codes that are searched many times.
  class KeptCosts {
   public:
    HWY_INLINE KeptCosts(const FreshCosts& costs, int count, std::uint16_t* HWY_RESTRICT memory)
        : memory_(memory) {
      for (int t = 0; t < count; ++t) {
        for (int branch = 0; branch < kBranches; ++branch) {
          for (int j = 0; j < kVectors; ++j) hn::Store(costs(t, branch, j), Tag(), memory + at(t, branch, j));
        }
      }
    }
    HWY_INLINE V operator()(int t, int branch, int j) const {
      return hn::Load(Tag(), memory_ + at(t, branch, j));
    }

   private:
    static HWY_INLINE int at(int t, int branch, int j) { return t * 256 + branch * kGroups + j * kLanes; }
    const std::uint16_t* memory_;
  };

  // The best of branches [first, first + count) into the groups of vector j by element t; the lower branch wins a
  // tie. Games of the tournament are numbered like the nodes of a heap. `trace`, if traced, is that of the
  // element.
  template <bool traced, int first, int count, int game = 1, class Costs>
  static HWY_INLINE Best best(const Dealt& metrics, const Dealt& groups, const Costs& costs, int t, int j,
                              std::uint8_t* HWY_RESTRICT trace) {
    if constexpr (count == 1) {
      const int from = first * kPeriod + j % kPeriod;
      return {hn::SaturatedAdd(metrics[from], costs(t, first, j)), groups[from]};
    } else {
      constexpr int kHalf = count / 2;
      const Best low = best<traced, first, kHalf, 2 * game>(metrics, groups, costs, t, j, trace);
      const Best high = best<traced, first + kHalf, kHalf, 2 * game + 1>(metrics, groups, costs, t, j, trace);
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

  // Runs over the first `count` elements and fills the trace, if one is wanted. Metrics go in as they are before
  // the first element and come out as they are after the last, less the number returned.
  template <bool traced, class Costs>
  static HWY_NOINLINE std::uint32_t run(const Costs costs, int count, std::uint16_t* HWY_RESTRICT in_out,
                                        std::uint8_t* HWY_RESTRICT trace) {
    V metrics[kVectors];
    load(in_out, metrics);
    Dealt groups;
    if constexpr (traced && !kMasks) {
      V numbers[kVectors];
      for (int j = 0; j < kVectors; ++j) numbers[j] = hn::Iota(Tag(), static_cast<std::uint16_t>(j * kLanes));
      deal_groups(numbers, groups);
    } else {
      for (V& unused : groups) unused = hn::Zero(Tag());
    }
    std::uint32_t subtracted = 0;
    for (int t = 0; t < count; ++t, trace += traced ? kTraceBytes : 0) {
      Dealt before;
      deal_groups(metrics, before);
      for (int j = 0; j < kVectors; ++j) {
        const Best winner = best<traced, 0, kBranches>(before, groups, costs, t, j, trace);
        metrics[j] = winner.cost;
        if constexpr (traced && !kMasks) {
          const auto from = hn::DemoteTo(TraceTag(), hn::BitCast(SignedTag(), winner.origin));
          hn::Store(from, TraceTag(), trace + j * kLanes);
        }
      }
      if (t % kRenormalizeEvery == kRenormalizeEvery - 1) {
        const V lowest = least(metrics);
        for (int j = 0; j < kVectors; ++j) metrics[j] = hn::Sub(metrics[j], lowest);
        subtracted += hn::GetLane(lowest);
      }
    }
    for (int j = 0; j < kVectors; ++j) hn::Store(metrics[j], Tag(), in_out + j * kLanes);
    return subtracted;
  }

  // The same for the paths that leave `group`; returns the cost of the best that comes back to it.
  template <bool traced, class Costs>
  static HWY_INLINE std::uint32_t run_cycle(const Costs& costs, int n, int group,
                                            std::uint8_t* HWY_RESTRICT trace) {
    HWY_ALIGN std::uint16_t metrics[kGroups];
    leave_from(group, metrics);
    const std::uint32_t subtracted = run<traced>(costs, n, metrics, trace);
    return subtracted + metrics[group];
  }

  static HWY_INLINE void leave_from(int group, std::uint16_t* HWY_RESTRICT metrics) {
    for (int g = 0; g < kGroups; ++g) metrics[g] = g == group ? 0 : kUnreachable;
  }

  // The costs of run_cycle() from each of kAbreast groups. A step waits for the one before it; side by side the cycles
  // fill each other's waits.
  template <class Costs>
  static HWY_NOINLINE void run_abreast(const Costs costs, int n, const int (&group)[kAbreast],
                                       std::uint32_t (&cost)[kAbreast]) {
    HWY_ALIGN std::uint16_t lanes[kAbreast][kGroups];
    V metrics[kAbreast][kVectors];
    for (int c = 0; c < kAbreast; ++c) {
      leave_from(group[c], lanes[c]);
      load(lanes[c], metrics[c]);
      cost[c] = 0;
    }
    for (int t = 0; t < n; ++t) {
      for (int c = 0; c < kAbreast; ++c) {
        Dealt before;
        deal_groups(metrics[c], before);
        for (int j = 0; j < kVectors; ++j)
          metrics[c][j] = best<false, 0, kBranches>(before, before, costs, t, j, nullptr).cost;
      }
      if (t % kRenormalizeEvery != kRenormalizeEvery - 1) continue;
      for (int c = 0; c < kAbreast; ++c) {
        const V lowest = least(metrics[c]);
        for (int j = 0; j < kVectors; ++j) metrics[c][j] = hn::Sub(metrics[c][j], lowest);
        cost[c] += hn::GetLane(lowest);
      }
    }
    for (int c = 0; c < kAbreast; ++c) {
      for (int j = 0; j < kVectors; ++j) hn::Store(metrics[c][j], Tag(), lanes[c] + j * kLanes);
      cost[c] += lanes[c][group[c]];
    }
  }

  // The trace of vector v of those that are searched together.
  static HWY_INLINE std::uint8_t* trace_of(const Scratch& scratch, int v) {
    return scratch.trace + static_cast<std::size_t>(v) * (kMasks ? 8 : scratch.trace_stride);
  }

  // The best paths of vectors that are searched together, from their ends back.
  class PathsOfGroups {
   public:
    // The first `count` paths end in these groups; what is in the place of the others is the first one again.
    HWY_INLINE PathsOfGroups(const Scratch& scratch, const int (&groups)[kTogether], int count) {
      for (int v = 0; v < kTogether; ++v) {
        const int path = v < count ? v : 0;
        trace_[v] = trace_of(scratch, path);
        group_[v] = groups[path];
      }
    }
    // Over element t, which comes before those walked already.
    HWY_INLINE void step_back(int t) {
      for (int v = 0; v < kTogether; ++v) {
        group_[v] =
            trace_[v][static_cast<std::size_t>(t) * kTraceBytes + static_cast<std::size_t>(group_[v])];
        stream_[v] = stream_[v] << k | static_cast<std::uint64_t>(group_[v] & (kBranches - 1));
      }
    }
    // The group before the last element walked, and the bits of the elements from it on, the lowest first.
    HWY_INLINE void get(int (&groups)[kTogether], std::uint64_t (&streams)[kTogether]) const {
      for (int v = 0; v < kTogether; ++v) {
        groups[v] = group_[v];
        streams[v] = stream_[v];
      }
    }

   private:
    const std::uint8_t* trace_[kTogether];
    int group_[kTogether];
    std::uint64_t stream_[kTogether] = {};
  };

  // The same on the words of masks: lanes are vectors. Without a vector, a lane's bits mean nothing.
  class PathsOfMasks {
   public:
    HWY_INLINE PathsOfMasks(const Scratch& scratch, const int (&groups)[kTogether], int /*count*/)
        : trace_(scratch.trace), stream_(hn::Zero(Lanes())) {
      HWY_ALIGN std::uint64_t lanes[kTogether];
      for (int v = 0; v < kTogether; ++v) lanes[v] = static_cast<std::uint64_t>(groups[v]);
      group_ = hn::Load(Lanes(), lanes);
    }
    HWY_INLINE void step_back(int t) {
      const auto* words =
          reinterpret_cast<const std::uint64_t*>(trace_ + static_cast<std::size_t>(t) * kTraceBytes);
      const auto one = hn::Set(Lanes(), 1);
      W branch;
      if constexpr (k == 1) {
        const auto upper = hn::Gt(group_, hn::Set(Lanes(), 63));
        const W games = hn::IfThenElse(upper, load(words, 1), load(words, 0));
        branch = hn::And(hn::Shr(games, hn::And(group_, hn::Set(Lanes(), 63))), one);
      } else {
        const W last = load(words, 0), low = load(words, 1), high = load(words, 2);
        const W first = hn::Xor(low, hn::And(hn::Xor(low, high), last));
        branch = hn::Or(hn::And(hn::Shr(first, group_), one),
                        hn::ShiftLeft<1>(hn::And(hn::Shr(last, group_), one)));
      }
      group_ = hn::And(hn::Or(hn::ShiftLeft<k>(group_), branch), hn::Set(Lanes(), kGroups - 1));
      stream_ = hn::Or(hn::ShiftLeft<k>(stream_), branch);
    }
    HWY_INLINE void get(int (&groups)[kTogether], std::uint64_t (&streams)[kTogether]) const {
      HWY_ALIGN std::uint64_t lanes[kTogether];
      hn::Store(group_, Lanes(), lanes);
      for (int v = 0; v < kTogether; ++v) groups[v] = static_cast<int>(lanes[v]);
      hn::StoreU(stream_, Lanes(), streams);
    }

   private:
    using Lanes = hn::CappedTag<std::uint64_t, 4>;
    using W = hn::Vec<Lanes>;
    static HWY_INLINE W load(const std::uint64_t* words, int i) {
      return hn::Load(Lanes(), words + i * kTogether);
    }
    const std::uint8_t* trace_;
    W group_, stream_;
  };

  using Paths = std::conditional_t<kMasks, PathsOfMasks, PathsOfGroups>;

  // Walks back from the groups and writes the bits of the first `count` paths, one code after the other.
  static HWY_INLINE void write_paths(const Scratch& scratch, const int (&groups)[kTogether], int count, int n,
                                     std::uint8_t* HWY_RESTRICT codes) {
    const int bytes = static_cast<int>(trellis_code_bytes(n, k));
    Paths paths(scratch, groups, count);
    int before[kTogether];
    std::uint64_t streams[kTogether];
    for (int t = n - 1; t >= 0; --t) {
      paths.step_back(t);
      if (t % 8 != 0) continue;
      paths.get(before, streams);
      const int at = t / 8 * k;  // eight elements make k whole bytes
      for (int v = 0; v < count; ++v) {
        for (int i = 0; i < k && at + i < bytes; ++i)
          codes[v * bytes + at + i] = static_cast<std::uint8_t>(streams[v] >> 8 * i);
      }
    }
  }

  // The groups in which free runs over both sides of the seam cross it. Only the second half leaves a
  // trace: the way back ends where it begins.
  static HWY_INLINE void find_seams(const std::int16_t* HWY_RESTRICT table, int n, const Scratch& scratch,
                                    int count, int (&seams)[kTogether]) {
    constexpr int kReach = seam_reach(k);
    static_assert(kReach % kRenormalizeEvery == 0);
    int ends[kTogether] = {};
    for (int v = 0; v < count; ++v) {
      const std::int16_t* input = scratch.input + v * scratch.input_stride;
      HWY_ALIGN std::int16_t around[2 * kReach];
      for (int i = 0, t = seam_run_start(k, n), here; i < 2 * kReach; i += here, t = 0) {
        here = HWY_MIN(n - t, 2 * kReach - i);
        std::memcpy(around + i, input + t, static_cast<std::size_t>(here) * sizeof(std::int16_t));
      }
      HWY_ALIGN std::uint16_t metrics[kGroups] = {};
      run<false>(FreshCosts(table, around), kReach, metrics, nullptr);
      run<true>(FreshCosts(table, around + kReach), kReach, metrics, trace_of(scratch, v));
      ends[v] = first_lowest(metrics);
    }
    Paths paths(scratch, ends, count);
    for (int t = kReach - 1; t >= 0; --t) paths.step_back(t);
    std::uint64_t streams[kTogether];
    paths.get(seams, streams);
  }

  // Two laps without a seam bound the cost of every cycle from below, by the group g of its seam: a lap that ends in
  // g costs no less than the first lap's best, m1[g], and one that goes on from it, m2[g] - m1[g]. Cycles are tried
  // from the lowest bound up until the bound reaches the best cost.
  static HWY_INLINE void encode_short(const std::int16_t* HWY_RESTRICT table, int n, const Scratch& scratch,
                                      std::uint8_t* HWY_RESTRICT codes) {
    const KeptCosts costs(FreshCosts(table, scratch.input), n, scratch.costs);
    HWY_ALIGN std::uint16_t first[kGroups] = {};
    HWY_ALIGN std::uint16_t bounds[kGroups];
    const std::uint32_t of_first = run<false>(costs, n, first, nullptr);
    std::memcpy(bounds, first, sizeof bounds);
    const std::uint32_t of_second = run<false>(costs, n, bounds, nullptr);
    const std::uint32_t base = join_bounds(first, of_first, bounds, of_second, kGroups);
    std::uint32_t lowest_cost = ~0U;
    int best_group = 0;
    bool done = false;
    for (int tried = 0; tried < kGroups && !done; tried += kAbreast) {
      int groups[kAbreast];
      std::uint32_t bound[kAbreast], cost[kAbreast];
      for (int c = 0; c < kAbreast; ++c) {
        groups[c] = first_lowest(bounds);
        bound[c] = base + bounds[groups[c]];
        bounds[groups[c]] = kUnreachable;
      }
      done = bound[0] >= lowest_cost;
      if (done) break;
      run_abreast(costs, n, groups, cost);
      for (int c = 0; c < kAbreast && !done; ++c) {
        done = bound[c] >= lowest_cost;
        if (done || cost[c] >= lowest_cost) continue;
        lowest_cost = cost[c];
        best_group = groups[c];
      }
    }
    run_cycle<true>(costs, n, best_group, scratch.trace);
    const int groups[kTogether] = {best_group};
    write_paths(scratch, groups, 1, n, codes);
  }

  // `count` vectors, at most kTogether.
  static HWY_INLINE void encode_long(const std::int16_t* HWY_RESTRICT table, int n, const Scratch& scratch,
                                     int count, std::uint8_t* HWY_RESTRICT codes) {
    int seams[kTogether];
    find_seams(table, n, scratch, count, seams);
    for (int v = 0; v < count; ++v)
      run_cycle<true>(FreshCosts(table, scratch.input + v * scratch.input_stride), n, seams[v],
                      trace_of(scratch, v));
    write_paths(scratch, seams, count, n, codes);
  }

  static void encode(const std::int16_t* HWY_RESTRICT values, const float* HWY_RESTRICT z, std::size_t count,
                     int n, const Scratch& scratch, std::uint8_t* HWY_RESTRICT codes) {
    HWY_ALIGN std::int16_t table[256];
    deal_table(values, table);
    const bool alone = n < kSeamFrom;
    for (std::size_t i = 0, here; i < count; i += here, codes += here * trellis_code_bytes(n, k)) {
      here = alone ? 1 : HWY_MIN(count - i, std::size_t{kTogether});
      for (std::size_t v = 0; v < here; ++v, z += n)
        quantize_input(z, n, scratch.input + v * static_cast<std::size_t>(scratch.input_stride));
      if (alone) {
        encode_short(table, n, scratch, codes);
      } else {
        encode_long(table, n, scratch, static_cast<int>(here), codes);
      }
    }
  }
};

void encode(int bits, const std::int16_t* values, const float* z, std::size_t count, int n,
            const Scratch& scratch, std::uint8_t* codes) {
  switch (bits) {
    case 1:
      return Search<1>::encode(values, z, count, n, scratch, codes);
    case 2:
      return Search<2>::encode(values, z, count, n, scratch, codes);
    case 3:
      return Search<3>::encode(values, z, count, n, scratch, codes);
    default:
      return Search<4>::encode(values, z, count, n, scratch, codes);
  }
}

}  // namespace veloxquant::trellis::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {
namespace trellis {
HWY_EXPORT(encode);

namespace {

// Grows to the longest code that the thread has asked for.
Scratch thread_scratch(int bits, int n) {
  thread_local hwy::AlignedFreeUniquePtr<std::uint8_t[]> memory;
  thread_local std::size_t capacity = 0;
  const std::size_t elements = static_cast<std::size_t>(std::max(n, 2 * seam_reach(bits)));
  const std::size_t input = (static_cast<std::size_t>(n) * sizeof(std::int16_t) + 63) / 64 * 64;
  const std::size_t trace = elements << (8 - bits);
  const std::size_t costs = n < kSeamFrom ? static_cast<std::size_t>(n) * 256 * sizeof(std::uint16_t) : 0;
  const std::size_t bytes = kMostTogether * (input + trace) + costs;
  if (bytes > capacity) {
    memory = hwy::AllocateAligned<std::uint8_t>(bytes);
    capacity = memory ? bytes : 0;
    if (!memory) throw std::bad_alloc();
  }
  return {.input = reinterpret_cast<std::int16_t*>(memory.get()),
          .trace = memory.get() + kMostTogether * input,
          .costs = reinterpret_cast<std::uint16_t*>(memory.get() + kMostTogether * (input + trace)),
          .input_stride = static_cast<std::ptrdiff_t>(input / sizeof(std::int16_t)),
          .trace_stride = trace};
}

// Inside the namespace: where one target is built, the dispatch is a plain name.
void search(const TrellisTable& table, const float* z, std::size_t count, int n, std::uint8_t* codes) {
  VELOX_DISPATCH(encode)(table.bits, table.values.data(), z, count, n, thread_scratch(table.bits, n), codes);
}

}  // namespace
}  // namespace trellis

void trellis_encode(const TrellisTable& table, const float* z, std::size_t count, int n,
                    std::uint8_t* codes) {
  trellis::check_bits("trellis_encode", table.bits);
  trellis::check_length("trellis_encode", n);
  trellis::search(table, z, count, n, codes);
}

}  // namespace veloxquant
#endif
