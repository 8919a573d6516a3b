// Allocation: one bit budget over the coordinates of all groups of a model.
//
// A group is what one KV head codes of a token: its key or its value, as coordinates of variance lambda in a
// metric whose unit is the same for all of them. Coded with b bits, a coordinate costs about weight * lambda
// * D(b) / 2 nats of Kullback-Leibler divergence, D being the relative squared error of the code. D is
// convex, so giving the next bit to the largest weight * lambda * (D(b) - D(b + 1)) is optimal (reverse
// water-filling with a measured distortion curve); zero bits are a width like any other. Blocks of `step`
// neighbouring coordinates share a width, because layouts and kernels want whole bytes; within a group widths
// never grow, so that equal ones form runs.
#pragma once

#include <string>
#include <vector>

#include <veloxquant/calibration/run_code.hpp>

#include "codebook/row_code.hpp"

namespace veloxquant {

inline constexpr int kWidestCode = 6;
inline constexpr double kLeastTarget = 0.125;  // bits per element of a budget; kWidestCode is the largest
inline constexpr int kGainBits = 4;            // a gain is one of 16 steps

// Relative squared error of a standard normal coordinate in a run of so many; 1 for 0 bits.
double code_distortion(CodeKind kind, int bits, int count);

struct AllocationGroup {
  std::vector<float> lambda;  // descending
  double weight = 1;
  int step = 8;  // coordinates that share a width; a multiple of 8
  // Groups of one number keep their gains in one byte (a head's key and value); -1: in four bits of its own.
  int gain_byte = -1;
};

struct AllocationOptions {
  double target_bits = 2;  // per coordinate, gains included
  RunCode code = RunCode::trellis;
  bool gain = true;  // a gain per vector of a group that codes anything
};

struct Allocation {
  std::vector<std::vector<RunPlan>> runs;  // by group; coordinates behind the last run have zero bits
  double bits_per_element = 0;             // true cost, never above the target
  double predicted_kl = 0;                 // sum over groups of weight / 2 * sum of lambda D
};

// Throws ConfigError for a target out of range and for groups whose lambda is not descending, negative or not
// finite.
Allocation allocate_bits(const std::vector<AllocationGroup>& groups, const AllocationOptions& options);

}  // namespace veloxquant
