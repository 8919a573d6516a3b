// RunCoder: vectors whose coordinates have several widths, as runs of scalar or trellis codes, behind one gain.
//
// A vector of `count` coordinates of variance about one:
//
//     codes   run 0 | run 1 | ...     each as CodeSpec draws its kind, from a byte on
//     gain    one byte, low 4 bits: k + 8, g = 2^(k / 4), k = -8 .. 7       (absent when there is no gain)
//
// The gain is the root mean square of the coordinates, rounded in the logarithm: coordinates are divided by it before
// they are coded. Tokens that carry facts have several times the average energy and would overload a code without it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>
#include <veloxquant/calibration/allocation.hpp>

namespace veloxquant {

// The number k + 8 of the gain nearest to the root mean square of z, in the logarithm.
std::uint8_t nearest_gain(const float* z, int count);
float gain_value(std::uint8_t number);

class RunCoder {
 public:
  RunCoder(std::vector<CoordinateRun> runs, bool gain);

  int count() const noexcept { return count_; }  // coordinates coded
  std::size_t code_bytes() const noexcept { return code_bytes_; }
  bool has_gain() const noexcept { return gain_; }
  const std::vector<CoordinateRun>& runs() const noexcept { return runs_; }

  // z [count] -> codes; returns the gain's number. z is divided by the gain in place.
  std::uint8_t encode(float* z, std::uint8_t* codes) const;
  // y [count]: with unbiased centroids (divided by 1 - D, so that <y, z> is |z|^2 on average) or the plain ones.
  void decode(const std::uint8_t* codes, std::uint8_t gain, bool unbiased, float* y) const;

 private:
  std::vector<CoordinateRun> runs_;
  bool gain_;
  int count_ = 0;
  std::size_t code_bytes_ = 0;
};

}  // namespace veloxquant
