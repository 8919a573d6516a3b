// Between the rows of the linear layers [tokens, heads * head_dim] and the heads of attention
// [1, heads, tokens, head_dim]; on the way the heads are normalized and turned.
#pragma once

#include <cstdint>
#include <vector>

#include <veloxquant/core/tensor.hpp>
#include <veloxquant/core/thread_pool.hpp>

namespace veloxquant {

// Cosines and sines for `tokens` positions from `first` on, every angle the f32 product of position and
// frequency (as transformers computes it; positions beyond 2^24 lose their last bits there and here).
class RotaryAngles {
 public:
  RotaryAngles(const std::vector<float>& frequencies, std::int64_t first, std::int64_t tokens,
               ThreadPool& pool);
  std::size_t pairs() const noexcept { return pairs_; }
  const float* cosines(std::int64_t token) const {
    return cosines_.data() + static_cast<std::size_t>(token) * pairs_;
  }
  const float* sines(std::int64_t token) const {
    return sines_.data() + static_cast<std::size_t>(token) * pairs_;
  }

 private:
  std::size_t pairs_;
  std::vector<float> cosines_, sines_;
};

struct HeadSteps {
  const Tensor* norm = nullptr;            // f32 [head_dim]: RMS norm of every head
  float eps = 0;                           // of that norm
  const RotaryAngles* rotation = nullptr;  // null: heads are not turned (values)
};

// rows [tokens, heads * head_dim] -> heads [1, heads, tokens, head_dim].
void split_heads(const Tensor& rows, const HeadSteps& steps, const Tensor& heads, ThreadPool& pool);
// The way back, without steps.
void merge_heads(const Tensor& heads, const Tensor& rows, ThreadPool& pool);

}  // namespace veloxquant
