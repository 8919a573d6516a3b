// Attention of a few or many query rows on runs of stored tokens of one KV head: the kernels' contract.
//
// The cache cuts its history into runs (a page, the sinks, the recent window) and calls attend_runs on each
// range of equal code; partial results of several calls are merged by their maxima and sums (online softmax),
// so the history can be split over threads in any way. Nothing of the history's length is held: a kernel asks
// for one run after the other, decodes a tile of it into a scratch buffer, uses it for all query rows, and
// goes on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include <veloxquant/quantizers/vector_quantizer.hpp>

#include "transform/coded_basis.hpp"

namespace veloxquant {

// Up to 64 consecutive tokens of one KV head, rows in token order, row strides = code_bytes and scale_bytes.
struct TokenRun {
  const std::uint8_t* key_codes = nullptr;
  const std::uint8_t* key_scales = nullptr;
  const std::uint8_t* value_codes = nullptr;
  const std::uint8_t* value_scales = nullptr;
  std::int64_t first = 0;  // index of the first token in the history
  int count = 0;
  const TokenPlace* key_places = nullptr;  // for keys whose method has frames
};

// Turns `count` stored rows into floats [count, head_dim], in the space of the codes (transforms are not
// undone). The factor of codes with a vector scale (scales are then f16 [count]) is left to the caller.
struct TileDecoder {
  using Function = void (*)(const TileDecoder& self, const std::uint8_t* codes, const std::uint8_t* scales,
                            int count, float* tile);
  Function decode = nullptr;
  CodeSpec spec;  // empty kind fields when `quantizer` decodes
  const VectorQuantizer* quantizer =
      nullptr;   // codes that only their quantizer can read; `decode` is null then
  int head = 0;  // for `quantizer`
  bool vector_scale = false;
  std::shared_ptr<const std::vector<TileDecoder>> runs = nullptr;  // of a mixed code, for `decode`
  // Keys in frames: what `decode` gives is brought to the space of the input.
  const CodedBasis* basis = nullptr;
  FrameProducts products = FrameProducts::f32;
};

// Bytes from a row of codes to the next as `decode` takes them. The rows of a run among others of a mixed
// code (CodeSpec::is_part) have one more, that in which their string goes on.
inline std::size_t tile_row_bytes(const CodeSpec& spec) noexcept {
  return spec.code_bytes() + (spec.is_part() ? 1 : 0);
}

// The decoder of a code at the CPU level in use.
TileDecoder tile_decoder(const CodeSpec& spec);
// The same with the keys of a basis: rows come back in the space of the input, where TokenRun::key_places
// says.
TileDecoder tile_decoder(const CodeSpec& spec, const CodedBasis& basis, FrameProducts products);
// For methods without a code_spec(): rows come back in the space of the input.
TileDecoder tile_decoder(const VectorQuantizer& quantizer, int head);

// Row r of the queries sees the tokens [begin[r], end[r]) of the history.
struct AttendQuery {
  int rows = 0;
  int head_dim = 0;
  const float* queries = nullptr;     // [rows, head_dim], transformed, not multiplied by the softmax scale
  const float* key_offset = nullptr;  // [rows], added to each inner product (centred keys); null: 0
  float scale = 1;                    // of the inner products
  const std::int64_t* begin = nullptr;
  const std::int64_t* end = nullptr;
};

// Partial softmax of one call: out[r] = sum_j exp(s_rj - max[r]) v_j, sum[r] = sum_j exp(s_rj - max[r]). A
// row that saw no token has max = -infinity and sum = 0.
struct AttendPartial {
  float* max = nullptr;  // [rows]
  float* sum = nullptr;  // [rows]
  float* out = nullptr;  // [rows, head_dim], in the space of the value codes; zero behind their coordinates
};

// Working memory of one thread, grown on first use and kept: O(rows * head_dim), never of the history's
// length.
class AttendScratch {
 public:
  float* reserve(std::size_t floats);  // 64-byte aligned, contents undefined
  std::size_t nbytes() const noexcept { return memory_.capacity(); }

 private:
  std::vector<std::byte> memory_;
};

// Gives the next run of a range, or one without tokens when there is none. What a run points to must stay
// until the run after the next is asked for.
using RunSource = std::function<TokenRun()>;

// Writes `partial` from scratch (it does not accumulate on what is there).
void attend_runs(const TileDecoder& keys, const TileDecoder& values, const RunSource& next_run,
                 const AttendQuery& query, const AttendPartial& partial, AttendScratch& scratch);
void attend_runs(const TileDecoder& keys, const TileDecoder& values, std::span<const TokenRun> runs,
                 const AttendQuery& query, const AttendPartial& partial, AttendScratch& scratch);

// into <- merge of `into` and `other` (rows each), the sum over both sets of tokens.
void merge_partials(const AttendPartial& into, const AttendPartial& other, int rows, int head_dim);

// The definition, in double precision and without blocking, for tests: decodes with the scalar functions.
void attend_reference(const CodeSpec& keys, const CodeSpec& values, std::span<const TokenRun> runs,
                      const AttendQuery& query, double* out /* normalized [rows, head_dim] */);

}  // namespace veloxquant
