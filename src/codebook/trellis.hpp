// Trellis codes with an 8-bit sliding window: 1 to 4 bits an element, decoded by one table look-up.
//
// The code of n elements is a cyclic stream of n * k bits, least significant bit of each byte first. The
// window of element t is the 8 bits that start at bit t * k (modulo n * k), and the element's value is
//     y_t = values[w_t] / 4096,      w_t = (stream >> t * k) & 255,
// so that neighbouring windows share 8 - k bits, w_{t+1} = (w_t >> k) | (new bits << (8 - k)), and every
// choice of k bits acts on 8 / k elements. This is the bitshift trellis of QTIP (arXiv 2406.11235) with one
// value a state and no stored start state: the stream bites its own tail.
//
// At n = 128 on the unit sphere the relative squared error is .276 / .0740 / .0197 / .0053 for 1 / 2 / 3 / 4
// bits, 1.2 to 2.4 dB below the Lloyd-Max scalar quantizer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace veloxquant {

struct TrellisTable {
  int bits;                              // k, bits an element
  std::array<std::int16_t, 256> values;  // by window, in 1/4096 standard deviations, at most 16383 in
                                         // magnitude; values[255 - w] = -values[w]
  double distortion;  // measured E|x - y|^2 / E|x|^2 of vectors uniform on the sphere, n = 128
};

// The trained table of `bits` bits an element. Throws ConfigError unless bits is 1, 2, 3 or 4.
const TrellisTable& trellis_table(int bits);

// Bytes of the code of n elements: ceil(n * bits / 8). The unused high bits of the last byte are zero.
std::size_t trellis_code_bytes(int n, int bits);

// Relative squared error of n normal elements of variance one, measured: short streams pay for biting their tail. From 64
// elements on the table's own.
double trellis_distortion(int bits, int n);

// The codes of `count` vectors z[0..n), one after the other, whose elements are expected to have mean zero
// and variance one; n is even and 8 to 65536 (else ShapeError). Two passes of the Viterbi algorithm: the
// first runs freely over both sides of the seam and fixes the bits shared there, the second finds the best
// stream with those bits. Below 64 elements, where that costs much, the best of all seams is taken (n = 8
// to 62 needs about 4 to 50 runs instead of two). Metrics are integers from the first step on, so that the
// bytes are the same on every CPU. Values beyond 4 standard deviations count as 4, NaN as 0. Memory for the
// search is kept by the thread: nothing is allocated unless the code is the longest so far.
void trellis_encode(const TrellisTable& table, const float* z, std::size_t count, int n, std::uint8_t* codes);
inline void trellis_encode(const TrellisTable& table, const float* z, int n, std::uint8_t* codes) {
  trellis_encode(table, z, 1, n, codes);
}

// The same bytes by a plain scalar search, written from the definition; it arbitrates in tests.
void trellis_encode_reference(const TrellisTable& table, const float* z, int n, std::uint8_t* codes);

// y[t] = values[w_t] / 4096 for t in [0, n).
void trellis_decode(const TrellisTable& table, const std::uint8_t* codes, int n, float* y);

}  // namespace veloxquant
