// What the attention kernels share outside the vector code: reading tiles of a run, and cutting runs to what
// is seen.
//
// Kernels work on rows padded to a multiple of 16 floats (kRowUnit), so that no vector loop has a tail; the
// padding is zero in the queries and in every tile.
#pragma once

#include <cstddef>
#include <cstdint>

#include "attention/attend.hpp"

namespace veloxquant {

inline constexpr int kRunTokens = 64;  // most tokens of one run
inline constexpr int kRowUnit = 16;    // floats; a multiple of every vector's lanes

constexpr std::size_t padded_row(int head_dim) noexcept {
  return (static_cast<std::size_t>(head_dim) + kRowUnit - 1) / kRowUnit * kRowUnit;
}

// The codes of keys or values: decodes tiles of a run into padded rows.
class TileReader {
 public:
  TileReader(const TileDecoder& decoder, int head_dim);

  bool vector_scale() const noexcept { return decoder_->vector_scale; }
  std::size_t code_bytes() const noexcept { return code_bytes_; }
  std::size_t scale_bytes() const noexcept { return scale_bytes_; }
  // Coordinates of what is read: head_dim, or fewer where values are coded in a basis.
  int dims() const noexcept { return dims_; }
  // Tokens [first, first + count) -> tile [count, padded_row(dims())].
  void read(const std::uint8_t* codes, const std::uint8_t* scales, int first, int count, float* tile,
            const TokenPlace* places = nullptr) const;
  // The run without its first tokens moves its pointers by so much.
  void skip(const std::uint8_t*& codes, const std::uint8_t*& scales, int tokens) const noexcept;

 private:
  const TileDecoder* decoder_;
  int dims_;
  std::size_t code_bytes_, scale_bytes_;
};

// Tokens [begin, end) of the history, as one row or several rows together see them.
struct TokenRange {
  std::int64_t begin = 0, end = 0;
};

// The union of what the rows [first, first + rows) see; begin >= end when they see nothing.
TokenRange visible_to_any(const AttendQuery& query, int first, int rows) noexcept;
// What every one of these rows sees.
TokenRange visible_to_all(const AttendQuery& query, int first, int rows) noexcept;

// The part of `run` inside `range`; count is 0 when there is none.
TokenRun cut_run(const TokenRun& run, TokenRange range, const TileReader& keys,
                 const TileReader& values) noexcept;

}  // namespace veloxquant
