// Trellis codes with an 8-bit sliding window: 1 to 4 bits an element, decoded by one table look-up.
//
// The code of n elements, element t having k_t bits, is a cyclic string of k_0 + ... + k_{n-1} bits, least
// significant bit of each byte first. The window of element t is the 8 bits that start at bit
// p_t = k_0 + ... + k_{t-1} (modulo the string's length), and the element's value is
//     y_t = values[w_t] / 4096,      w_t = (string >> p_t) & 255,      values: the table of k_t bits,
// so that neighbouring windows share 8 - k_t bits, w_{t+1} = (w_t >> k_t) | (new bits << (8 - k_t)). This is
// the bitshift trellis of QTIP (arXiv 2406.11235) with one value a state and no stored start state: the
// string bites its own tail. Elements of one width stand in runs. A string over several widths has one seam
// instead of one a run, which is what makes short runs cheap in bits and in time.
//
// At n = 128 of one width on the unit sphere the relative squared error is .276 / .0740 / .0197 / .0053 for
// 1 / 2 / 3 / 4 bits, 1.2 to 2.4 dB below the Lloyd-Max scalar quantizer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace veloxquant {

struct TrellisTable {
  int bits;                              // k, bits an element
  std::array<std::int16_t, 256> values;  // by window, in 1/4096 standard deviations, at most 16383 in
                                         // magnitude; values[255 - w] = -values[w]
  double distortion;  // measured E|x - y|^2 / E|x|^2 of vectors uniform on the sphere, n = 128
};

// The trained table of `bits` bits an element. Throws ConfigError unless bits is 1, 2, 3 or 4.
const TrellisTable& trellis_table(int bits);

// Consecutive elements of one width.
struct TrellisRun {
  const TrellisTable* table;
  int count;  // even and 8 to 65536; where a string has several runs, a multiple of 8: each begins on a byte
};
using TrellisRuns = std::span<const TrellisRun>;
// A run's count is a multiple of this one, and 8 or more.
constexpr int trellis_unit(std::size_t runs) noexcept { return runs > 1 ? 8 : 2; }

int trellis_length(TrellisRuns runs) noexcept;  // elements
// Bytes of a string. The unused high bits of the last byte are zero.
std::size_t trellis_code_bytes(TrellisRuns runs) noexcept;
std::size_t trellis_code_bytes(int n, int bits);

// Relative squared error of n normal elements of variance one in a string of their own, measured: short
// strings pay for biting their tail. From 64 elements on the table's own.
double trellis_distortion(int bits, int n);
// The same of each run of a string, by fits to measurements (trellis.cpp): the narrowest width pays for the
// seam.
std::vector<double> trellis_distortions(TrellisRuns runs);

// The strings of `count` vectors z[0..n), one after the other, whose elements are expected to have mean zero
// and variance one. The sum over t of 4^k_t (z_t - y_t)^2 is made small: elements deserve their widths when
// what they are multiplied by later is that much larger. `weights`, unless null, are n factors of the
// differences z_t - y_t in that sum, in 2^-15, from 1 to 32767: errors then move from the elements with large
// ones to those with small ones. Two passes of the Viterbi algorithm: the first runs freely over both sides
// of the seam, which is behind a run of the largest width, and fixes the bits shared there; the second finds
// the best string with those bits. Below 64 elements, where that costs much, the best of all seams is taken.
// Metrics are integers from the first step on, so that the bytes are the same on every CPU. Values beyond 4
// standard deviations count as 4, NaN as 0. Memory for the search is kept by the thread: nothing is allocated
// unless the string is the longest so far. Throws ConfigError for a table of no such width, ShapeError for
// counts other than TrellisRun allows or more than 65536 elements in all.
void trellis_encode(TrellisRuns runs, const std::int16_t* weights, const float* z, std::size_t count,
                    std::uint8_t* codes);
inline void trellis_encode(const TrellisTable& table, const float* z, std::size_t count, int n,
                           std::uint8_t* codes) {
  const TrellisRun run{&table, n};
  trellis_encode({&run, 1}, nullptr, z, count, codes);
}
inline void trellis_encode(const TrellisTable& table, const float* z, int n, std::uint8_t* codes) {
  trellis_encode(table, z, 1, n, codes);
}

// The same bytes of one vector by a plain scalar search, written from the definition; it arbitrates in tests.
void trellis_encode_reference(TrellisRuns runs, const std::int16_t* weights, const float* z,
                              std::uint8_t* codes);

// The values of the n elements.
void trellis_decode(TrellisRuns runs, const std::uint8_t* codes, float* y);
inline void trellis_decode(const TrellisTable& table, const std::uint8_t* codes, int n, float* y) {
  const TrellisRun run{&table, n};
  trellis_decode({&run, 1}, codes, y);
}

}  // namespace veloxquant
