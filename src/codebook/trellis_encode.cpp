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

#include <new>

#include "codebook/trellis.hpp"
#include "codebook/trellis_search.hpp"

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

  // Runs over x[0..count) from the metrics at `start`, fills the trace and returns the group in which the
  // best path ends.
  static HWY_NOINLINE int run(const std::int16_t* HWY_RESTRICT table, const std::int16_t* HWY_RESTRICT x,
                              int count, const std::uint16_t* HWY_RESTRICT start,
                              std::uint8_t* HWY_RESTRICT trace) {
    V metrics[kVectors];
    V numbers[kVectors];
    for (int j = 0; j < kVectors; ++j) {
      metrics[j] = hn::Load(Tag(), start + j * kLanes);
      numbers[j] = hn::Iota(Tag(), static_cast<std::uint16_t>(j * kLanes));
    }
    Dealt groups;
    deal_groups(numbers, groups);
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
      }
    }
    const V lowest = least(metrics);
    for (int j = 0;; ++j) {
      const auto at = hn::FindFirstTrue(Tag(), hn::Eq(metrics[j], lowest));
      if (at >= 0) return j * kLanes + static_cast<int>(at);
    }
  }

  // The group before the first element, where element n - 1 and element 0 meet.
  static HWY_INLINE int find_seam(const std::int16_t* HWY_RESTRICT table, int n, const Scratch& scratch) {
    const int reach = seam_reach(k, n);
    HWY_ALIGN std::uint16_t start[kGroups];
    for (int g = 0; g < kGroups; ++g) start[g] = 0;
    int group = run(table, scratch.input + n / 2 - reach, 2 * reach, start, scratch.trace);
    for (int t = 2 * reach - 1; t >= reach; --t) group = scratch.trace[t * kGroups + group];
    return group;
  }

  static void encode(const std::int16_t* HWY_RESTRICT values, const float* HWY_RESTRICT z, int n,
                     const Scratch& scratch, std::uint8_t* HWY_RESTRICT codes) {
    HWY_ALIGN std::int16_t table[256];
    deal_table(values, table);
    // The second half of the input stands once more before the first element.
    std::int16_t* const x = scratch.input + n / 2;
    quantize_input(z, n, x);
    for (int t = 1; t <= n / 2; ++t) x[-t] = x[n - t];

    int group = find_seam(table, n, scratch);
    HWY_ALIGN std::uint16_t start[kGroups];
    for (int g = 0; g < kGroups; ++g) start[g] = g == group ? 0 : kUnreachable;
    run(table, x, n, start, scratch.trace);

    const int bytes = static_cast<int>(trellis_code_bytes(n, k));
    std::uint32_t stream = 0;
    for (int t = n - 1; t >= 0; --t) {
      group = scratch.trace[t * kGroups + group];
      stream = stream << k | static_cast<std::uint32_t>(group & (kBranches - 1));
      if (t % 8 != 0) continue;
      const int at = t / 8 * k;  // eight elements make k whole bytes
      for (int i = 0; i < k && at + i < bytes; ++i)
        codes[at + i] = static_cast<std::uint8_t>(stream >> 8 * i);
    }
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
  const std::size_t input = (static_cast<std::size_t>(n + n / 2) * sizeof(std::int16_t) + 63) / 64 * 64;
  const std::size_t bytes = input + (static_cast<std::size_t>(n) << (8 - bits));
  if (bytes > capacity) {
    memory = hwy::AllocateAligned<std::uint8_t>(bytes);
    capacity = memory ? bytes : 0;
    if (!memory) throw std::bad_alloc();
  }
  return {reinterpret_cast<std::int16_t*>(memory.get()), memory.get() + input};
}

}  // namespace
}  // namespace trellis

void trellis_encode(const TrellisTable& table, const float* z, int n, std::uint8_t* codes) {
  trellis::check_bits("trellis_encode", table.bits);
  trellis::check_length("trellis_encode", n);
  const trellis::Scratch scratch = trellis::thread_scratch(table.bits, n);
  HWY_DYNAMIC_DISPATCH(trellis::encode)(table.bits, table.values.data(), z, n, scratch, codes);
}

}  // namespace veloxquant
#endif
