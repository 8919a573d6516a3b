#include "attention/attend_run.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "linalg/matrix_vector.hpp"

namespace veloxquant {
namespace {

// [count, dims] -> [count, stride] in place, the padding zero: from the last row on, rows only move up.
void spread_rows(float* tile, int count, int dims, std::size_t stride) {
  const auto width = static_cast<std::size_t>(dims);
  for (auto t = static_cast<std::size_t>(count); t-- > 0;) {
    float* row = tile + t * stride;
    std::memmove(row, tile + t * width, width * sizeof(float));
    std::fill(row + width, row + stride, 0.0f);
  }
}

}  // namespace

TileReader::TileReader(const TileDecoder& decoder, int head_dim)
    : decoder_(&decoder),
      dims_(decoder.quantizer != nullptr || decoder.basis != nullptr ? head_dim : decoder.spec.head_dim),
      code_bytes_(decoder.quantizer ? decoder.quantizer->code_bytes(decoder.head)
                                    : decoder.spec.code_bytes()),
      scale_bytes_(decoder.quantizer ? decoder.quantizer->scale_bytes(decoder.head)
                                     : decoder.spec.scale_bytes()) {}

void TileReader::read(const std::uint8_t* codes, const std::uint8_t* scales, int first, int count,
                      float* tile, const TokenPlace* places) const {
  skip(codes, scales, first);
  if (const VectorQuantizer* quantizer = decoder_->quantizer) {
    quantizer->decode_rows_at(codes, scales, places != nullptr ? places + first : nullptr,
                              static_cast<std::size_t>(count), decoder_->head, tile);
  } else if (const CodedBasis* basis = decoder_->basis) {
    thread_local std::vector<float> coded;
    coded.resize(static_cast<std::size_t>(count * decoder_->spec.head_dim) + kMatrixPad);
    decoder_->decode(*decoder_, codes, scales, count, coded.data());
    basis->restore_keys(coded.data(), places + first, static_cast<std::size_t>(count), decoder_->products,
                        tile);
  } else {
    decoder_->decode(*decoder_, codes, scales, count, tile);
  }
  const std::size_t stride = padded_row(dims_);
  if (stride != static_cast<std::size_t>(dims_)) spread_rows(tile, count, dims_, stride);
}

void TileReader::skip(const std::uint8_t*& codes, const std::uint8_t*& scales, int tokens) const noexcept {
  codes += static_cast<std::size_t>(tokens) * code_bytes_;
  if (scale_bytes_ > 0) scales += static_cast<std::size_t>(tokens) * scale_bytes_;
}

TokenRange visible_to_any(const AttendQuery& query, int first, int rows) noexcept {
  TokenRange range{std::numeric_limits<std::int64_t>::max(), 0};
  for (int r = first; r < first + rows; ++r) {
    if (query.begin[r] >= query.end[r]) continue;
    range.begin = std::min(range.begin, query.begin[r]);
    range.end = std::max(range.end, query.end[r]);
  }
  return range;
}

TokenRange visible_to_all(const AttendQuery& query, int first, int rows) noexcept {
  TokenRange range{0, std::numeric_limits<std::int64_t>::max()};
  for (int r = first; r < first + rows; ++r) {
    range.begin = std::max(range.begin, query.begin[r]);
    range.end = std::min(range.end, query.end[r]);
  }
  return range;
}

TokenRun cut_run(const TokenRun& run, TokenRange range, const TileReader& keys,
                 const TileReader& values) noexcept {
  const std::int64_t begin = std::max(range.begin, run.first);
  const std::int64_t end = std::min(range.end, run.first + run.count);
  TokenRun part = run;
  part.count = static_cast<int>(std::max<std::int64_t>(end - begin, 0));
  if (part.count == 0) return part;
  const auto skipped = static_cast<int>(begin - run.first);
  keys.skip(part.key_codes, part.key_scales, skipped);
  values.skip(part.value_codes, part.value_scales, skipped);
  if (part.key_places != nullptr) part.key_places += skipped;
  part.first = begin;
  return part;
}

}  // namespace veloxquant
