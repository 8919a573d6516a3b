// RopeTurn: the rotation R_p of a rotary embedding, forwards and back, and its average over a frame.
//
// R_p turns each pair (a, b) of coordinates by the angle p * frequency, the f32 product that model code
// forms, so that turning back undoes what the model did. Coordinates that do not turn (partial rotary
// dimensions) form pairs of frequency 0.
#pragma once

#include <cstdint>
#include <span>
#include <vector>
#include <veloxquant/core/config.hpp>

namespace veloxquant {

// Cosines and sines of one position, by pair.
struct TurnAngles {
  std::vector<float> cosines, sines;
};

class RopeTurn {
 public:
  struct Pair {
    int first, second;
    float frequency;
    bool operator==(const Pair&) const = default;
  };

  RopeTurn(const RopeConfig& rope, int head_dim);

  // The coordinates that are turned together, in the order of the angles.
  const std::vector<Pair>& pairs() const noexcept { return pairs_; }
  std::size_t nbytes() const noexcept { return pairs_.size() * sizeof(Pair); }
  // Exact to the rounding of sines and cosines at any position, so that whoever advances to it agrees.
  TurnAngles angles(std::int64_t position) const;
  // out = R x and out = R^-1 x; x may be out.
  void forwards(const TurnAngles& angles, const float* x, float* out) const noexcept;
  void back(const TurnAngles& angles, const float* x, float* out) const noexcept;

  // angles <- those of the position that is `step` further on, to rounding.
  static void advance(TurnAngles& angles, const TurnAngles& step) noexcept;

  // The average of R_t A R_t^T over t = 0 .. frame - 1; A is [head_dim, head_dim].
  std::vector<double> average(std::span<const double> a, std::int64_t frame) const;

 private:
  std::vector<Pair> pairs_;
  std::size_t split_ = 0;  // the first so many pairs are (i, i + split_)
  int head_dim_;
};

}  // namespace veloxquant
