// The output-weighted metric of keys, from a forward pass alone.
//
// Key j before RoPE meets query i as u_ij = R_-j q_i / sqrt(D). To first order an error e of it moves the
// output of the layer by p_ij W_O (v_j - o_i) <u_ij, e>, so that its mean squared effect is e^T M e with
//
//     M = sum over query heads of the group and pairs i >= j of  p_ij^2 |W_O (v_j - o_i)|^2 u_ij u_ij^T .
//
// It is estimated from sampled j. For each of them and each head the squared weights are carried by a few i,
// so the sum over i is drawn by systematic resampling: `kDraws` rows with equal shares of the whole, which is
// unbiased.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "transform/rope_turn.hpp"

namespace veloxquant {

// One query head in one window. Rows are positions 0 .. tokens - 1, all of head_dim floats.
struct MetricInput {
  int head_dim = 0;
  std::int64_t tokens = 0;
  const float* queries = nullptr;         // [tokens, head_dim], after RoPE
  const float* outputs = nullptr;         // [tokens, head_dim]: attention's result
  const float* values = nullptr;          // [tokens, head_dim], of the KV head
  std::span<const float> output_gram;     // [head_dim, head_dim]: W_O,h^T W_O,h
  std::span<const std::int64_t> sampled;  // positions j, ascending
  const float* probabilities = nullptr;   // [tokens, sampled]: p_ij, 0 for i < j
  bool all_alike = false;                 // every pair i >= j counts 1: the second moment of queries
};

// Adds the sum over sampled j, times `scale`, to `metric` [head_dim, head_dim]. Returns the sum of p_ij^2
// over the same pairs, times `scale`: what an error of the values is multiplied by.
double add_key_metric(const MetricInput& input, const RopeTurn& turn, double scale, std::uint64_t seed,
                      std::span<double> metric);

}  // namespace veloxquant
