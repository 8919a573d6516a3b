// Vectorized tail-biting Viterbi search. Window w = g << k | a is reached from the windows whose group, their
// high 8 - k bits, equals the low 8 - k bits of w; only the best metric m[g] of each group is carried along:
//     m'[g] = min over a of  m[(g << k | a) mod G] + cost(x - values[g << k | a]),     G = 2^(8-k) groups.
// Lanes are groups. For a fixed branch `a` the metrics needed are every 2^k-th one from a on, repeated 2^k
// times, which k rounds of even/odd splitting deliver. The group that won is kept for the way back; its low k
// bits are `a`, the element's bits in the stream.
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
#include <new>

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

  // The best of branches [first, first + count) into the groups of vector j; the lower branch wins a tie.
  template <int first, int count>
  static HWY_INLINE Best best(const Dealt& metrics, const Dealt& groups,
                              const std::int16_t* HWY_RESTRICT table, hn::Vec<SignedTag> x, int j) {
    if constexpr (count == 1) {
      const auto difference = hn::Sub(x, hn::Load(SignedTag(), table + first * kGroups + j * kLanes));
      const auto slope = k == kSharpBits ? hn::SaturatedAdd(difference, difference) : difference;
      const auto cost = hn::BitCast(Tag(), hn::MulFixedPoint15(difference, slope));
      const int from = first * kPeriod + j % kPeriod;
      return {hn::SaturatedAdd(metrics[from], cost), groups[from]};
    } else {
      const Best low = best<first, count / 2>(metrics, groups, table, x, j);
      const Best high = best<first + count / 2, count / 2>(metrics, groups, table, x, j);
      const V cost = hn::Min(low.cost, high.cost);
      return {cost, hn::IfThenElse(hn::Eq(cost, low.cost), low.origin, high.origin)};
    }
  }

  static HWY_INLINE V least(const V (&metrics)[kVectors]) {
    V lowest = metrics[0];
    for (int j = 1; j < kVectors; ++j) lowest = hn::Min(lowest, metrics[j]);
    return hn::MinOfLanes(Tag(), lowest);
  }

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

  // Runs over x[0..count) and fills the trace. Metrics go in as they are before the first element and come
  // out as they are after the last, less the number returned.
  static HWY_NOINLINE std::uint32_t run(const std::int16_t* HWY_RESTRICT table,
                                        const std::int16_t* HWY_RESTRICT x, int count,
                                        std::uint16_t* HWY_RESTRICT in_out,
                                        std::uint8_t* HWY_RESTRICT trace) {
    V metrics[kVectors];
    V numbers[kVectors];
    load(in_out, metrics);
    for (int j = 0; j < kVectors; ++j) numbers[j] = hn::Iota(Tag(), static_cast<std::uint16_t>(j * kLanes));
    Dealt groups;
    deal_groups(numbers, groups);
    std::uint32_t subtracted = 0;
    for (int t = 0; t < count; ++t) {
      Dealt before;
      deal_groups(metrics, before);
      const auto input = hn::Set(SignedTag(), x[t]);
      for (int j = 0; j < kVectors; ++j) {
        const Best winner = best<0, kBranches>(before, groups, table, input, j);
        metrics[j] = winner.cost;
        const auto origin = hn::DemoteTo(TraceTag(), hn::BitCast(SignedTag(), winner.origin));
        hn::Store(origin, TraceTag(), trace + t * kGroups + j * kLanes);
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
  static HWY_INLINE std::uint32_t run_cycle(const std::int16_t* HWY_RESTRICT table, int n, int group,
                                            const Scratch& scratch) {
    HWY_ALIGN std::uint16_t metrics[kGroups];
    for (int g = 0; g < kGroups; ++g) metrics[g] = g == group ? 0 : kUnreachable;
    const std::uint32_t subtracted = run(table, scratch.input, n, metrics, scratch.trace);
    return subtracted + metrics[group];
  }

  // Walks back from `group` and writes the bits of the path.
  static HWY_INLINE void write_path(const std::uint8_t* HWY_RESTRICT trace, int n, int group,
                                    std::uint8_t* HWY_RESTRICT codes) {
    const int bytes = static_cast<int>(trellis_code_bytes(n, k));
    std::uint32_t stream = 0;
    for (int t = n - 1; t >= 0; --t) {
      group = trace[t * kGroups + group];
      stream = stream << k | static_cast<std::uint32_t>(group & (kBranches - 1));
      if (t % 8 != 0) continue;
      const int at = t / 8 * k;  // eight elements make k whole bytes
      for (int i = 0; i < k && at + i < bytes; ++i)
        codes[at + i] = static_cast<std::uint8_t>(stream >> 8 * i);
    }
  }

  // The group in which a free run over both sides of the seam crosses it.
  static HWY_INLINE int find_seam(const std::int16_t* HWY_RESTRICT table, int n, const Scratch& scratch) {
    constexpr int kReach = seam_reach(k);
    HWY_ALIGN std::int16_t around[2 * kReach];
    for (int i = 0, t = seam_run_start(k, n); i < 2 * kReach; ++i, t = t + 1 == n ? 0 : t + 1) {
      around[i] = scratch.input[t];
    }
    HWY_ALIGN std::uint16_t metrics[kGroups] = {};
    run(table, around, 2 * kReach, metrics, scratch.trace);
    int group = first_lowest(metrics);
    for (int t = 2 * kReach - 1; t >= kReach; --t) group = scratch.trace[t * kGroups + group];
    return group;
  }

  // A free run bounds the cost of every cycle from below, by the group it ends in; cycles are tried from the
  // lowest bound up until the bound reaches the best cost.
  static HWY_INLINE void encode_short(const std::int16_t* HWY_RESTRICT table, int n, const Scratch& scratch,
                                      std::uint8_t* HWY_RESTRICT codes) {
    HWY_ALIGN std::uint16_t bounds[kGroups] = {};
    const std::uint32_t subtracted = run(table, scratch.input, n, bounds, scratch.trace);
    std::uint32_t lowest_cost = ~0U;
    for (int tried = 0; tried < kGroups; ++tried) {
      const int group = first_lowest(bounds);
      if (subtracted + bounds[group] >= lowest_cost) return;
      bounds[group] = kUnreachable;
      const std::uint32_t cost = run_cycle(table, n, group, scratch);
      if (cost >= lowest_cost) continue;
      lowest_cost = cost;
      write_path(scratch.trace, n, group, codes);
    }
  }

  static void encode(const std::int16_t* HWY_RESTRICT values, const float* HWY_RESTRICT z, int n,
                     const Scratch& scratch, std::uint8_t* HWY_RESTRICT codes) {
    HWY_ALIGN std::int16_t table[256];
    deal_table(values, table);
    quantize_input(z, n, scratch.input);
    if (n < kSeamFrom) return encode_short(table, n, scratch, codes);
    const int seam = find_seam(table, n, scratch);
    run_cycle(table, n, seam, scratch);
    write_path(scratch.trace, n, seam, codes);
  }
};

void encode(int bits, const std::int16_t* values, const float* z, int n, const Scratch& scratch,
            std::uint8_t* codes) {
  switch (bits) {
    case 1:
      return Search<1>::encode(values, z, n, scratch, codes);
    case 2:
      return Search<2>::encode(values, z, n, scratch, codes);
    case 3:
      return Search<3>::encode(values, z, n, scratch, codes);
    default:
      return Search<4>::encode(values, z, n, scratch, codes);
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
  const int elements = std::max(n, 2 * seam_reach(bits));
  const std::size_t input = (static_cast<std::size_t>(n) * sizeof(std::int16_t) + 63) / 64 * 64;
  const std::size_t bytes = input + (static_cast<std::size_t>(elements) << (8 - bits));
  if (bytes > capacity) {
    memory = hwy::AllocateAligned<std::uint8_t>(bytes);
    capacity = memory ? bytes : 0;
    if (!memory) throw std::bad_alloc();
  }
  return {reinterpret_cast<std::int16_t*>(memory.get()), memory.get() + input};
}

// Inside the namespace: where one target is built, the dispatch is a plain name.
void search(const TrellisTable& table, const float* z, int n, std::uint8_t* codes) {
  VELOX_DISPATCH(encode)(table.bits, table.values.data(), z, n, thread_scratch(table.bits, n), codes);
}

}  // namespace
}  // namespace trellis

void trellis_encode(const TrellisTable& table, const float* z, int n, std::uint8_t* codes) {
  trellis::check_bits("trellis_encode", table.bits);
  trellis::check_length("trellis_encode", n);
  trellis::search(table, z, n, codes);
}

}  // namespace veloxquant
#endif
