// Vectorized tail-biting Viterbi search. Window w = g << k | a is reached from the windows whose group, their high
// 8 - k bits, equals the low 8 - k bits of w; only the best metric m[g] of each group is carried along:
//     m'[g] = min over a of  m[(g << k | a) mod G] + (x - values[g << k | a])^2,     G = 2^(8-k) groups.
// Lanes are groups. For a fixed `a` the metrics needed are every 2^k-th one starting at a, repeated 2^k times, which
// k rounds of even/odd splitting deliver; the winning `a` of each group and element is kept for the way back.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codebook/trellis_encode.cpp"
#define HWY_WANT_AVX3_DL
// Vectors of unknown length cannot be held in arrays; Arm CPUs that have them run the NEON code.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#include <hwy/foreach_target.h>
// clang-format: keep this order
#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

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
    const int at = std::min(t, n - lanes);
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
  // Vectors that hold the metrics for one `a`, after which they repeat.
  static constexpr int kPeriod = kVectors > kBranches ? kVectors / kBranches : 1;

  struct Metrics {
    V of[kVectors];
  };
  struct Best {
    V cost;
    V branch;
  };
  // Metrics by branch: of[a * kPeriod + i].
  struct Spread {
    V of[kBranches * kPeriod];
  };

  // Splits `count` vectors into those of even and those of odd position, `rounds` times over.
  template <int rounds, int count, int first, int stride>
  static HWY_INLINE void spread(const V* in, Spread& out) {
    if constexpr (rounds == 0) {
      for (int i = 0; i < count; ++i) out.of[first * kPeriod + i] = in[i];
    } else {
      constexpr int half = count > 1 ? count / 2 : 1;
      V even[half];
      V odd[half];
      for (int i = 0; i < half; ++i) {
        const V low = in[count > 1 ? 2 * i : 0];
        const V high = in[count > 1 ? 2 * i + 1 : 0];
        even[i] = hn::ConcatEven(Tag(), high, low);
        odd[i] = hn::ConcatOdd(Tag(), high, low);
      }
      spread<rounds - 1, half, first, stride * 2>(even, out);
      spread<rounds - 1, half, first + stride, stride * 2>(odd, out);
    }
  }

  // The best of branches [first, first + count) for the groups of vector j; the lower branch wins a tie.
  template <int first, int count>
  static HWY_INLINE Best best(const Spread& from, const std::int16_t* HWY_RESTRICT table, hn::Vec<SignedTag> x, int j) {
    if constexpr (count == 1) {
      const auto difference = hn::Sub(x, hn::Load(SignedTag(), table + first * kGroups + j * kLanes));
      const auto slope = k == kSharpBits ? hn::SaturatedAdd(difference, difference) : difference;
      const auto square = hn::BitCast(Tag(), hn::MulFixedPoint15(difference, slope));
      return {hn::SaturatedAdd(from.of[first * kPeriod + j % kPeriod], square), hn::Set(Tag(), first)};
    } else {
      const Best low = best<first, count / 2>(from, table, x, j);
      const Best high = best<first + count / 2, count / 2>(from, table, x, j);
      const V cost = hn::Min(low.cost, high.cost);
      return {cost, hn::IfThenElse(hn::Eq(cost, low.cost), low.branch, high.branch)};
    }
  }

  static HWY_INLINE void step(Metrics& metrics, const std::int16_t* HWY_RESTRICT table, int x,
                              std::uint8_t* HWY_RESTRICT trace) {
    Spread from;
    spread<k, kVectors, 0, 1>(metrics.of, from);
    const auto input = hn::Set(SignedTag(), static_cast<std::int16_t>(x));
    for (int j = 0; j < kVectors; ++j) {
      const Best winner = best<0, kBranches>(from, table, input, j);
      metrics.of[j] = winner.cost;
      hn::Store(hn::DemoteTo(TraceTag(), hn::BitCast(SignedTag(), winner.branch)), TraceTag(), trace + j * kLanes);
    }
  }

  static HWY_INLINE void renormalize(Metrics& metrics) {
    V least = metrics.of[0];
    for (int j = 1; j < kVectors; ++j) least = hn::Min(least, metrics.of[j]);
    least = hn::MinOfLanes(Tag(), least);
    for (int j = 0; j < kVectors; ++j) metrics.of[j] = hn::Sub(metrics.of[j], least);
  }

  // `start` holds the metrics before the first element, and after the return those after the last.
  static HWY_INLINE void run(const std::int16_t* HWY_RESTRICT table, const std::int16_t* HWY_RESTRICT x, int count,
                             std::uint16_t* HWY_RESTRICT start, std::uint8_t* HWY_RESTRICT trace) {
    Metrics metrics;
    for (int j = 0; j < kVectors; ++j) metrics.of[j] = hn::Load(Tag(), start + j * kLanes);
    for (int t = 0; t < count; ++t) {
      step(metrics, table, x[t], trace + t * kGroups);
      if (t % kRenormalizeEvery == kRenormalizeEvery - 1) renormalize(metrics);
    }
    for (int j = 0; j < kVectors; ++j) hn::Store(metrics.of[j], Tag(), start + j * kLanes);
  }

  // One element back: the group before is the low end of the stream, to which the element's k bits are added.
  static HWY_INLINE std::uint64_t back(std::uint64_t stream, const std::uint8_t* HWY_RESTRICT trace) {
    return stream << k | trace[stream & (kGroups - 1)];
  }

  static void encode(const std::int16_t* HWY_RESTRICT values, const float* HWY_RESTRICT z, int n,
                     const Scratch& scratch, std::uint8_t* HWY_RESTRICT codes) {
    HWY_ALIGN std::int16_t table[256];
    for (int w = 0; w < 256; ++w) table[(w & (kBranches - 1)) * kGroups + (w >> k)] = values[w];
    const int reach = seam_reach(k, n);
    // The last `reach` elements stand once more before the first, so that the seam lies inside one run.
    std::int16_t* const x = scratch.input + reach;
    quantize_input(z, n, x);
    for (int t = 1; t <= reach; ++t) x[-t] = x[n - t];

    HWY_ALIGN std::uint16_t metrics[kGroups];
    for (int g = 0; g < kGroups; ++g) metrics[g] = 0;
    run(table, x - reach, 2 * reach, metrics, scratch.trace);
    std::uint64_t stream = 0;
    for (int g = 1; g < kGroups; ++g) {
      if (metrics[g] < metrics[stream]) stream = static_cast<std::uint64_t>(g);
    }
    for (int t = 2 * reach - 1; t >= reach; --t) stream = back(stream, scratch.trace + t * kGroups);

    const std::uint64_t seam = stream & (kGroups - 1);
    for (int g = 0; g < kGroups; ++g) metrics[g] = kUnreachable;
    metrics[seam] = 0;
    run(table, x, n, metrics, scratch.trace);
    stream = seam;
    const int bytes = static_cast<int>(trellis_code_bytes(n, k));
    for (int t = n - 1; t >= 0; --t) {
      stream = back(stream, scratch.trace + t * kGroups);
      if (t % 8 != 0) continue;
      const int at = t / 8 * k;  // eight elements make k whole bytes
      for (int i = 0; i < k && at + i < bytes; ++i) codes[at + i] = static_cast<std::uint8_t>(stream >> 8 * i);
    }
    const int spare = bytes * 8 - n * k;
    codes[bytes - 1] = static_cast<std::uint8_t>(codes[bytes - 1] & 0xFF >> spare);
  }
};

void encode(int bits, const std::int16_t* values, const float* z, int n, const Scratch& scratch, std::uint8_t* codes) {
  switch (bits) {
    case 1: return Search<1>::encode(values, z, n, scratch, codes);
    case 2: return Search<2>::encode(values, z, n, scratch, codes);
    case 3: return Search<3>::encode(values, z, n, scratch, codes);
    default: return Search<4>::encode(values, z, n, scratch, codes);
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
    capacity = bytes;
  }
  return {reinterpret_cast<std::int16_t*>(memory.get()), memory.get() + input};
}

}  // namespace
}  // namespace trellis

void trellis_encode(const TrellisTable& table, const float* z, int n, std::uint8_t* codes) {
  trellis::check_length("trellis_encode", n);
  HWY_DYNAMIC_DISPATCH(trellis::encode)
  (table.bits, table.values.data(), z, n, trellis::thread_scratch(table.bits, n), codes);
}

}  // namespace veloxquant
#endif
