// What a model's next-token predictions lose: compared row by row with those of the unquantized model.
//
// With reference logits r and measured logits m of one position, p = softmax(r), q = softmax(m):
//
//   nll             -ln q[target]
//   reference_nll   -ln p[target]
//   kl              sum over the vocabulary of p (ln p - ln q), in nats
//   same_top        arg max r == arg max m (the lowest index of equal maxima)
//
// KL is summed as p (exp(d) - 1 - d) with d = ln q - ln p. Its terms are never negative and an error of the
// softmax's normalizer enters squared only, so that even a KL of 1e-9 is right.
#pragma once

#include <cstddef>
#include <cstdint>

#include <veloxquant/core/thread_pool.hpp>

namespace veloxquant {

struct RowDivergence {
  double nll = 0, reference_nll = 0, kl = 0;
  bool same_top = false;
};

// reference and logits [rows, vocab], targets [rows], each below vocab -> out [rows]. The result does not
// depend on the number of threads. Throws NumericError for logits that are not finite, naming the row.
void compare_rows(const float* reference, const float* logits, std::size_t rows, std::size_t vocab,
                  const std::uint32_t* targets, ThreadPool& pool, RowDivergence* out);

// The index of the largest of `count` >= 1 values, the lowest among equals.
std::size_t argmax(const float* values, std::size_t count);

}  // namespace veloxquant
