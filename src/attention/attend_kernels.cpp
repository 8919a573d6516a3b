// attend_runs(): chosen by CPU level once a call, then by the number of query rows.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "attention/attend.hpp"
#include "attention/attend_run.hpp"
#include "core/dispatch.hpp"

// The kernels keep arrays of vectors, which scalable vectors do not allow: Arm CPUs run the NEON code.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#define HWY_WANT_AVX3_DL
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/attend_kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "attention/few_rows-inl.hpp"
#include "attention/many_rows-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace veloxquant {
namespace HWY_NAMESPACE {

void attend_few_rows(const TileReader& keys, const TileReader& values, const RunSource& next_run,
                     const AttendQuery& query, const AttendPartial& partial, AttendScratch& scratch) {
  const TokenRange seen = visible_to_any(query, 0, query.rows);
  FewRows rows(keys, values, query, scratch);
  for (TokenRun whole = next_run(), next; whole.count > 0; whole = next) {
    next = next_run();
    const TokenRun run = cut_run(whole, seen, keys, values);
    if (run.count > 0) rows.attend(run, next);
  }
  rows.write(partial);
}

void attend_many_rows(const TileReader& keys, const TileReader& values, const RunSource& next_run,
                      const AttendQuery& query, const AttendPartial& partial, AttendScratch& scratch) {
  const TokenRange seen = visible_to_any(query, 0, query.rows);
  ManyRows rows(keys, values, query, scratch);
  for (TokenRun whole = next_run(); whole.count > 0; whole = next_run()) {
    const TokenRun run = cut_run(whole, seen, keys, values);
    if (run.count > 0) rows.attend(run);
  }
  rows.write(partial);
}

void attend_rows(const TileReader& keys, const TileReader& values, const RunSource& next_run,
                 const AttendQuery& query, const AttendPartial& partial, AttendScratch& scratch) {
  const auto attend = query.rows <= kFewRows ? attend_few_rows : attend_many_rows;
  attend(keys, values, next_run, query, partial, scratch);
}

}  // namespace HWY_NAMESPACE
}  // namespace veloxquant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace veloxquant {

HWY_EXPORT(attend_rows);

void attend_runs(const TileDecoder& keys, const TileDecoder& values, const RunSource& next_run,
                 const AttendQuery& query, const AttendPartial& partial, AttendScratch& scratch) {
  const TileReader key_reader(keys, query.head_dim), value_reader(values, query.head_dim);
  VELOX_DISPATCH(attend_rows)(key_reader, value_reader, next_run, query, partial, scratch);
}

void attend_runs(const TileDecoder& keys, const TileDecoder& values, std::span<const TokenRun> runs,
                 const AttendQuery& query, const AttendPartial& partial, AttendScratch& scratch) {
  const RunSource next_run = [left = runs]() mutable {
    while (!left.empty() && left.front().count == 0) left = left.subspan(1);
    if (left.empty()) return TokenRun{};
    const TokenRun& run = left.front();
    left = left.subspan(1);
    return run;
  };
  attend_runs(keys, values, next_run, query, partial, scratch);
}

}  // namespace veloxquant
#endif
