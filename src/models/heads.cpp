#include "models/heads.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "models/row_kernels.hpp"
#include "models/row_loop.hpp"

namespace veloxquant {

RotaryAngles::RotaryAngles(const std::vector<float>& frequencies, std::int64_t first, std::int64_t tokens,
                           ThreadPool& pool)
    : pairs_(frequencies.size()),
      cosines_(pairs_ * static_cast<std::size_t>(tokens)),
      sines_(pairs_ * static_cast<std::size_t>(tokens)) {
  for_each_row(pool, tokens, [&](std::int64_t token) {
    const auto position = static_cast<float>(first + token);
    const std::size_t row = static_cast<std::size_t>(token) * pairs_;
    for (std::size_t i = 0; i < pairs_; ++i) {
      cosines_[row + i] = std::cos(position * frequencies[i]);
      sines_[row + i] = std::sin(position * frequencies[i]);
    }
  });
}

void split_heads(const Tensor& rows, const HeadSteps& steps, const Tensor& heads, ThreadPool& pool) {
  const std::int64_t count = heads.dim(1), tokens = heads.dim(2), head_dim = heads.dim(3);
  const auto size = static_cast<std::size_t>(head_dim);
  for_each_row(pool, tokens, [&](std::int64_t token) {
    for (std::int64_t h = 0; h < count; ++h) {
      float* head = heads.data<float>() + (h * tokens + token) * head_dim;
      std::memcpy(head, rows.data<float>() + (token * count + h) * head_dim, size * sizeof(float));
      if (steps.norm != nullptr) rms_norm(head, steps.norm->data<float>(), size, steps.eps, head);
      if (steps.rotation != nullptr) {
        rotate_half_split(head, steps.rotation->cosines(token), steps.rotation->sines(token),
                          steps.rotation->pairs());
      }
    }
  });
}

void merge_heads(const Tensor& heads, const Tensor& rows, ThreadPool& pool) {
  const std::int64_t count = heads.dim(1), tokens = heads.dim(2), head_dim = heads.dim(3);
  for_each_row(pool, tokens, [&](std::int64_t token) {
    for (std::int64_t h = 0; h < count; ++h) {
      std::memcpy(rows.data<float>() + (token * count + h) * head_dim,
                  heads.data<float>() + (h * tokens + token) * head_dim,
                  static_cast<std::size_t>(head_dim) * sizeof(float));
    }
  });
}

}  // namespace veloxquant
