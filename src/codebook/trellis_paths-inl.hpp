// The best paths of vectors that are searched together, from their ends back. Included once per CPU target.
//
// The way back is a chain of look-ups that wait for each other, so several vectors walk it side by side.
#if defined(VELOXQUANT_CODEBOOK_TRELLIS_PATHS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef VELOXQUANT_CODEBOOK_TRELLIS_PATHS_INL
#undef VELOXQUANT_CODEBOOK_TRELLIS_PATHS_INL
#else
#define VELOXQUANT_CODEBOOK_TRELLIS_PATHS_INL
#endif

#include <type_traits>

#include "codebook/trellis_search-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace veloxquant::trellis::HWY_NAMESPACE {

using Groups = int[kTogether];  // of each vector the one that its path has come to

// Through a trace of bytes.
template <int k>
class PathsOfBytes {
 public:
  // The first `vectors` paths; in the place of the others the first one is walked again.
  HWY_INLINE PathsOfBytes(const std::uint8_t* trace, const Groups& groups, int vectors) {
    for (int v = 0; v < kTogether; ++v) {
      const int path = v < vectors ? v : 0;
      trace_[v] = trace + static_cast<std::size_t>(path) * Lanes<k>::kTraceStep;
      group_[v] = groups[path];
    }
  }
  // Over element t, which comes before those walked already.
  HWY_INLINE void step_back(int t, int groups_before) {
    const std::size_t element = static_cast<std::size_t>(t) * Lanes<k>::kTraceBytes;
    for (int v = 0; v < kTogether; ++v) {
      group_[v] = trace_[v][element + static_cast<std::size_t>(group_[v])] & (groups_before - 1);
      string_[v] = string_[v] << k | static_cast<std::uint64_t>(group_[v] & (Lanes<k>::kBranches - 1));
    }
  }
  // The groups before the last element walked, and the bits of the elements from it on, the lowest first.
  HWY_INLINE void get(Groups& groups, std::uint64_t (&strings)[kTogether]) const {
    for (int v = 0; v < kTogether; ++v) {
      groups[v] = group_[v];
      strings[v] = string_[v];
    }
  }

 private:
  const std::uint8_t* trace_[kTogether];
  Groups group_;
  std::uint64_t string_[kTogether] = {};
};

// Through the words of masks: lanes are vectors. Without a vector, a lane's bits mean nothing.
template <int k>
class PathsOfMasks {
 public:
  HWY_INLINE PathsOfMasks(const std::uint8_t* trace, const Groups& groups, int /*vectors*/)
      : trace_(trace), string_(hn::Zero(Numbers())) {
    HWY_ALIGN std::uint64_t lanes[kTogether];
    for (int v = 0; v < kTogether; ++v) lanes[v] = static_cast<std::uint64_t>(groups[v]);
    group_ = hn::Load(Numbers(), lanes);
  }
  HWY_INLINE void step_back(int t, int groups_before) {
    const auto* words =
        reinterpret_cast<const std::uint64_t*>(trace_ + static_cast<std::size_t>(t) * Lanes<k>::kTraceBytes);
    const auto one = hn::Set(Numbers(), 1);
    W branch;
    if constexpr (k == 1) {
      const auto upper = hn::Gt(group_, hn::Set(Numbers(), 63));
      const W games = hn::IfThenElse(upper, load(words, 1), load(words, 0));
      branch = hn::And(hn::Shr(games, hn::And(group_, hn::Set(Numbers(), 63))), one);
    } else {
      const W last = load(words, 0), low = load(words, 1), high = load(words, 2);
      const W first = hn::Xor(low, hn::And(hn::Xor(low, high), last));
      branch =
          hn::Or(hn::And(hn::Shr(first, group_), one), hn::ShiftLeft<1>(hn::And(hn::Shr(last, group_), one)));
    }
    group_ = hn::And(hn::Or(hn::ShiftLeft<k>(group_), branch),
                     hn::Set(Numbers(), static_cast<std::uint64_t>(groups_before - 1)));
    string_ = hn::Or(hn::ShiftLeft<k>(string_), branch);
  }
  HWY_INLINE void get(Groups& groups, std::uint64_t (&strings)[kTogether]) const {
    HWY_ALIGN std::uint64_t lanes[kTogether];
    hn::Store(group_, Numbers(), lanes);
    for (int v = 0; v < kTogether; ++v) groups[v] = static_cast<int>(lanes[v]);
    hn::StoreU(string_, Numbers(), strings);
  }

 private:
  using Numbers = hn::CappedTag<std::uint64_t, kTogether>;
  using W = hn::Vec<Numbers>;
  static HWY_INLINE W load(const std::uint64_t* words, int i) {
    return hn::Load(Numbers(), words + i * kTogether);
  }
  const std::uint8_t* trace_;
  W group_, string_;
};

template <int k>
using Paths = std::conditional_t<Lanes<k>::kMasks, PathsOfMasks<k>, PathsOfBytes<k>>;

// Walks back over `count` elements of a run; groups go in as they are behind them and come out as they are
// before.
template <int k>
HWY_NOINLINE void walk_back(const std::uint8_t* trace, int count, int groups_before, int vectors,
                            Groups& groups) {
  Paths<k> paths(trace, groups, vectors);
  for (int t = count - 1; t > 0; --t) paths.step_back(t, Lanes<k>::kGroups);
  paths.step_back(0, groups_before);
  std::uint64_t strings[kTogether];
  paths.get(groups, strings);
}

// The same over a whole run, of which it writes the bits of the first `vectors` paths, `stride` bytes from
// one to the next.
template <int k>
HWY_NOINLINE void write_back(const std::uint8_t* trace, int count, int groups_before, int vectors,
                             std::size_t stride, Groups& groups, std::uint8_t* HWY_RESTRICT codes) {
  const int bytes = static_cast<int>(trellis_code_bytes(count, k));
  Paths<k> paths(trace, groups, vectors);
  std::uint64_t strings[kTogether];
  for (int t = count - 1; t >= 0; --t) {
    paths.step_back(t, t == 0 ? groups_before : Lanes<k>::kGroups);
    if (t % 8 != 0) continue;
    paths.get(groups, strings);
    const int at = t / 8 * k;  // eight elements make k whole bytes
    for (int v = 0; v < vectors; ++v) {
      for (int i = 0; i < k && at + i < bytes; ++i)
        codes[static_cast<std::size_t>(v) * stride + static_cast<std::size_t>(at + i)] =
            static_cast<std::uint8_t>(strings[v] >> 8 * i);
    }
  }
}

}  // namespace veloxquant::trellis::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
