// Vectorized tail-biting Viterbi search. trellis_search-inl.hpp has the steps within a run,
// trellis_paths-inl.hpp the way back; here are the passes over the runs of a string.
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
#include <span>
#include <vector>

#include "codebook/trellis_paths-inl.hpp"
#include "core/dispatch.hpp"

#ifndef VELOXQUANT_TRELLIS_ENCODE_ONCE
#define VELOXQUANT_TRELLIS_ENCODE_ONCE
namespace veloxquant::trellis {

// A string to search, in the order of the search, and the memory to do it in, aligned to 64 bytes.
struct StringSearch {
  std::vector<TrellisRun> runs;
  std::vector<std::size_t> elements, codes;  // by run: where its elements and its bytes begin in a vector
  std::vector<std::size_t> inputs;           // by run: where its elements begin in the memory of inputs
  std::vector<Piece> whole, before, behind;  // all runs; what a free run passes before the seam and behind it
  std::size_t length, bytes;                 // of a vector: elements, bytes
  const std::int16_t* weights;               // of a vector, or null
  std::int16_t* tables;                      // [runs][256]
  std::int16_t* input;                       // [kTogether][length]
  std::uint8_t* trace;                       // of the longer pass
  std::uint16_t* costs;                      // of short strings: [length][256]

  // A byte for each group of every vector; masks take less.
  std::size_t trace_bytes(const Piece& piece) const {
    return static_cast<std::size_t>(piece.count * kTogether) << (8 - runs[piece.run].table->bits);
  }
};

}  // namespace veloxquant::trellis
#endif

HWY_BEFORE_NAMESPACE();
namespace veloxquant::trellis::HWY_NAMESPACE {

// call.template operator()<k>().
template <class Call>
HWY_INLINE auto with_width(int bits, const Call& call) {
  switch (bits) {
    case 1:
      return call.template operator()<1>();
    case 2:
      return call.template operator()<2>();
    case 3:
      return call.template operator()<3>();
    default:
      return call.template operator()<4>();
  }
}

class StringEncoder {
 public:
  explicit StringEncoder(const StringSearch& string) : string_(string), runs_(string.runs.size()) {
    for (std::size_t r = 0; r < runs_; ++r)
      with_width(bits_of(r),
                 [&]<int k>() { Search<k>::deal_table(string_.runs[r].table->values.data(), table_of(r)); });
  }

  void encode(const float* HWY_RESTRICT z, std::size_t count, std::uint8_t* HWY_RESTRICT codes) {
    const bool alone = string_.length < static_cast<std::size_t>(kSeamFrom);
    for (std::size_t i = 0, here; i < count; i += here, codes += here * string_.bytes) {
      here = alone ? 1 : HWY_MIN(count - i, std::size_t{kTogether});
      for (std::size_t v = 0; v < here; ++v, z += string_.length) {
        for (std::size_t r = 0; r < runs_; ++r) {
          with_width(bits_of(r), [&]<int k>() {
            Search<k>::quantize_input(z + string_.elements[r], count_of(r), input_of(r, static_cast<int>(v)));
          });
        }
      }
      if (alone) {
        encode_short(codes);
      } else {
        encode_long(static_cast<int>(here), codes);
      }
    }
  }

 private:
  using Metrics = std::uint16_t[128];

  int bits_of(std::size_t r) const { return string_.runs[r].table->bits; }
  int count_of(std::size_t r) const { return string_.runs[r].count; }
  std::int16_t* table_of(std::size_t r) const { return string_.tables + 256 * r; }
  std::int16_t* input_of(std::size_t r, int vector) const {
    return string_.input + static_cast<std::size_t>(vector) * string_.length + string_.inputs[r];
  }
  std::uint16_t* costs_of(std::size_t r) const { return string_.costs + 256 * string_.inputs[r]; }
  int groups_of(std::size_t r) const { return 256 >> bits_of(r); }
  int groups_at_seam() const { return groups_of(runs_ - 1); }
  std::size_t trace_bytes(const Piece& piece) const { return string_.trace_bytes(piece); }

  // call(costs of a piece, worked out as they are needed).
  template <int k, class Call>
  auto with_costs(const Piece& piece, int vector, const Call& call) const {
    const typename Search<k>::FreshCosts costs(table_of(piece.run),
                                               input_of(piece.run, vector) + piece.first);
    if (string_.weights == nullptr) return call(costs);
    return call(typename Search<k>::WeightedCosts(
        costs, string_.weights + string_.elements[piece.run] + piece.first));
  }

  // Passes over the pieces. Metrics of `groups` groups go in as they are before the first element and come
  // out as they are after the last, less the number returned. `groups` becomes the number that comes out.
  template <bool traced>
  std::uint32_t pass(std::span<const Piece> pieces, int vector, bool kept, int& groups, Metrics& metrics,
                     std::uint8_t* trace) const {
    std::uint32_t subtracted = 0;
    for (const Piece& piece : pieces) {
      subtracted += with_width(bits_of(piece.run), [&]<int k>() {
        std::uint8_t* own =
            traced ? trace + static_cast<std::size_t>(vector) * Lanes<k>::kTraceStep : nullptr;
        if (kept) {
          const typename Search<k>::KeptCosts costs(costs_of(piece.run));
          return Search<k>::template run<traced>(costs, piece.count, groups, metrics, own);
        }
        return with_costs<k>(piece, vector, [&](const auto& costs) {
          return Search<k>::template run<traced>(costs, piece.count, groups, metrics, own);
        });
      });
      groups = groups_of(piece.run);
      if constexpr (traced) trace += trace_bytes(piece);
    }
    return subtracted;
  }

  // The first group with the lowest metric.
  int first_lowest(std::size_t r, const Metrics& metrics) const {
    return with_width(bits_of(r), [&]<int k>() { return Lanes<k>::first_lowest(metrics); });
  }

  static void leave_from(int group, int groups, Metrics& metrics) {
    for (int g = 0; g < groups; ++g) metrics[g] = g == group ? 0 : kUnreachable;
  }

  // The best path that leaves `group` and comes back to it, in the trace.
  void trace_cycle(int group, int vector, bool kept) const {
    HWY_ALIGN Metrics metrics;
    int groups = groups_at_seam();
    leave_from(group, groups, metrics);
    pass<true>(string_.whole, vector, kept, groups, metrics, string_.trace);
  }

  // Writes the bits of the first `vectors` paths, which end in these groups, one string after the other.
  void write_paths(Groups& groups, int vectors, std::uint8_t* HWY_RESTRICT codes) const {
    const std::uint8_t* trace = string_.trace;
    for (const Piece& piece : string_.whole) trace += trace_bytes(piece);
    for (std::size_t r = runs_; r-- > 0;) {
      trace -= trace_bytes(string_.whole[r]);
      const int before = groups_of(r == 0 ? runs_ - 1 : r - 1);
      with_width(bits_of(r), [&]<int k>() {
        write_back<k>(trace, count_of(r), before, vectors, string_.bytes, groups, codes + string_.codes[r]);
      });
    }
  }

  // The groups in which free runs over both sides of the seam cross it. Only the second half leaves a
  // trace: the way back ends where it begins.
  void find_seams(int vectors, Groups& groups) const {
    for (int v = 0; v < vectors; ++v) {
      HWY_ALIGN Metrics metrics = {};
      int count = groups_of(string_.before[0].run);
      pass<false>(string_.before, v, false, count, metrics, nullptr);
      pass<true>(string_.behind, v, false, count, metrics, string_.trace);
      groups[v] = first_lowest(string_.behind.back().run, metrics);
    }
    const std::uint8_t* trace = string_.trace;
    for (const Piece& piece : string_.behind) trace += trace_bytes(piece);
    for (std::size_t p = string_.behind.size(); p-- > 0;) {
      trace -= trace_bytes(string_.behind[p]);
      const int before = p == 0 ? groups_at_seam() : groups_of(string_.behind[p - 1].run);
      with_width(bits_of(string_.behind[p].run),
                 [&]<int k>() { walk_back<k>(trace, string_.behind[p].count, before, vectors, groups); });
    }
  }

  // `vectors` of them, at most kTogether.
  void encode_long(int vectors, std::uint8_t* HWY_RESTRICT codes) const {
    Groups seams = {};
    find_seams(vectors, seams);
    for (int v = 0; v < vectors; ++v) trace_cycle(seams[v], v, false);
    write_paths(seams, vectors, codes);
  }

  // Two laps without a seam bound the cost of every cycle from below, by the group g of its seam: a lap that
  // ends in g costs no less than the first lap's best, m1[g], and one that goes on from it, m2[g] - m1[g].
  // Cycles are tried from the lowest bound up until the bound reaches the best cost.
  void encode_short(std::uint8_t* HWY_RESTRICT codes) const {
    for (std::size_t r = 0; r < runs_; ++r) {
      with_width(bits_of(r), [&]<int k>() {
        with_costs<k>(string_.whole[r], 0, [&](const auto& costs) {
          Search<k>::KeptCosts::keep(costs, count_of(r), costs_of(r));
        });
      });
    }
    const int groups = groups_at_seam();
    HWY_ALIGN Metrics first = {};
    HWY_ALIGN Metrics bounds;
    int count = groups;
    const std::uint32_t of_first = pass<false>(string_.whole, 0, true, count, first, nullptr);
    std::memcpy(bounds, first, sizeof bounds);
    const std::uint32_t of_second = pass<false>(string_.whole, 0, true, count, bounds, nullptr);
    const std::uint32_t base = join_bounds(first, of_first, bounds, of_second, groups);
    std::uint32_t lowest_cost = ~0U;
    int best_group = 0;
    bool done = false;
    for (int tried = 0; tried < groups && !done; tried += kAbreast) {
      int group[kAbreast];
      std::uint32_t bound[kAbreast], cost[kAbreast];
      for (int c = 0; c < kAbreast; ++c) {
        group[c] = first_lowest(runs_ - 1, bounds);
        bound[c] = base + bounds[group[c]];
        bounds[group[c]] = kUnreachable;
      }
      done = bound[0] >= lowest_cost;
      if (done) break;
      run_cycles(group, cost);
      for (int c = 0; c < kAbreast && !done; ++c) {
        done = bound[c] >= lowest_cost;
        if (done || cost[c] >= lowest_cost) continue;
        lowest_cost = cost[c];
        best_group = group[c];
      }
    }
    trace_cycle(best_group, 0, true);
    Groups ends = {best_group};
    write_paths(ends, 1, codes);
  }

  // The costs of the best paths that leave these groups and come back to them.
  void run_cycles(const int (&group)[kAbreast], std::uint32_t (&cost)[kAbreast]) const {
    HWY_ALIGN Metrics metrics[kAbreast];
    int groups = groups_at_seam();
    for (int c = 0; c < kAbreast; ++c) {
      leave_from(group[c], groups, metrics[c]);
      cost[c] = 0;
    }
    for (std::size_t r = 0; r < runs_; ++r) {
      with_width(bits_of(r), [&]<int k>() {
        Search<k>::run_abreast(typename Search<k>::KeptCosts(costs_of(r)), count_of(r), groups, metrics,
                               cost);
      });
      groups = groups_of(r);
    }
    for (int c = 0; c < kAbreast; ++c) cost[c] += metrics[c][group[c]];
  }

  const StringSearch& string_;
  std::size_t runs_;
};

void encode(const StringSearch& string, const float* z, std::size_t count, std::uint8_t* codes) {
  StringEncoder(string).encode(z, count, codes);
}

}  // namespace veloxquant::trellis::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {
namespace trellis {
HWY_EXPORT(encode);

namespace {

constexpr std::size_t kAlignment = 64;
std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// Grows to the longest string that the thread has asked for.
std::uint8_t* thread_memory(std::size_t bytes) {
  thread_local hwy::AlignedFreeUniquePtr<std::uint8_t[]> memory;
  thread_local std::size_t capacity = 0;
  if (bytes > capacity) {
    memory = hwy::AllocateAligned<std::uint8_t>(bytes);
    capacity = memory ? bytes : 0;
    if (!memory) throw std::bad_alloc();
  }
  return memory.get();
}

// The string's runs and passes; memory is not given yet.
void lay_out(TrellisRuns runs, StringSearch& string) {
  string.elements.assign(runs.size(), 0);
  string.codes.assign(runs.size(), 0);
  string.inputs.assign(runs.size(), 0);
  string.runs.assign(runs.begin(), runs.end());
  for (std::size_t r = 1; r < runs.size(); ++r) {
    string.elements[r] = string.elements[r - 1] + static_cast<std::size_t>(runs[r - 1].count);
    string.codes[r] = string.codes[r - 1] + trellis_code_bytes(runs[r - 1].count, runs[r - 1].table->bits);
  }
  const auto start = static_cast<std::ptrdiff_t>(first_searched(runs));
  for (auto* places : {&string.elements, &string.codes})
    std::rotate(places->begin(), places->begin() + start, places->end());
  std::rotate(string.runs.begin(), string.runs.begin() + start, string.runs.end());
  string.whole.clear();
  string.length = 0;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    string.whole.push_back({r, 0, string.runs[r].count});
    string.inputs[r] = string.length;
    string.length += static_cast<std::size_t>(string.runs[r].count);
  }
  string.bytes = trellis_code_bytes(runs);
  pieces_before_seam(string.runs, string.before);
  pieces_behind_seam(string.runs, string.behind);
}

std::size_t trace_bytes(const StringSearch& string, const std::vector<Piece>& pieces) {
  std::size_t bytes = 0;
  for (const Piece& piece : pieces) bytes += string.trace_bytes(piece);
  return bytes;
}

void give_memory(StringSearch& string) {
  const bool is_short = string.length < static_cast<std::size_t>(kSeamFrom);
  const std::size_t tables = string.runs.size() * 256 * sizeof(std::int16_t),
                    input = aligned(kTogether * string.length * sizeof(std::int16_t)),
                    trace = aligned(
                        std::max(trace_bytes(string, string.whole), trace_bytes(string, string.behind))),
                    costs = is_short ? string.length * 256 * sizeof(std::uint16_t) : 0;
  std::uint8_t* memory = thread_memory(tables + input + trace + costs);
  string.tables = reinterpret_cast<std::int16_t*>(memory);
  string.input = reinterpret_cast<std::int16_t*>(memory + tables);
  string.trace = memory + tables + input;
  string.costs = reinterpret_cast<std::uint16_t*>(memory + tables + input + trace);
}

// Inside the namespace: where one target is built, the dispatch is a plain name.
void search(const StringSearch& string, const float* z, std::size_t count, std::uint8_t* codes) {
  VELOX_DISPATCH(encode)(string, z, count, codes);
}

}  // namespace
}  // namespace trellis

void trellis_encode(TrellisRuns runs, const std::int16_t* weights, const float* z, std::size_t count,
                    std::uint8_t* codes) {
  trellis::check_runs("trellis_encode", runs);
  thread_local trellis::StringSearch string;
  trellis::lay_out(runs, string);
  string.weights = weights;
  trellis::give_memory(string);
  trellis::search(string, z, count, codes);
}

}  // namespace veloxquant
#endif
