// ExactTokens: the keys and values of a row's first tokens (sinks) and newest tokens (recent), as they came
// (f32).
//
//     [kv_heads][keys, values][slot 0 .. sinks - 1 | slot sinks .. sinks + recent - 1][head_dim] floats
//
// Token t < sinks has slot t; a later one slot sinks + (t - sinks) % recent: a ring in which a new token
// takes the place of the one that leaves the window.
#pragma once

#include <cstdint>

#include "cache/page_pool.hpp"

namespace veloxquant {

class ExactTokens {
 public:
  ExactTokens(int kv_heads, int head_dim, std::int64_t sinks, std::int64_t recent)
      : head_dim_(head_dim), sinks_(sinks), recent_(recent) {
    floats_.resize(nbytes_of(kv_heads, head_dim, sinks, recent) / sizeof(float));
  }
  static std::size_t nbytes_of(int kv_heads, int head_dim, std::int64_t sinks, std::int64_t recent) noexcept {
    return sizeof(float) * static_cast<std::size_t>(2 * kv_heads * (sinks + recent) * head_dim);
  }

  float* keys(int head, std::int64_t token) noexcept { return floats_.data() + offset(2 * head, token); }
  float* values(int head, std::int64_t token) noexcept {
    return floats_.data() + offset(2 * head + 1, token);
  }
  const float* keys(int head, std::int64_t token) const noexcept {
    return floats_.data() + offset(2 * head, token);
  }
  const float* values(int head, std::int64_t token) const noexcept {
    return floats_.data() + offset(2 * head + 1, token);
  }
  // How many tokens from `token` on stand one after the other before the ring wraps around or the sinks end.
  std::int64_t contiguous_from(std::int64_t token) const noexcept {
    return token < sinks_ ? sinks_ - token : recent_ - (token - sinks_) % recent_;
  }
  std::size_t nbytes() const noexcept { return held_by(floats_); }

 private:
  std::size_t offset(int section, std::int64_t token) const noexcept {
    const std::int64_t slot = token < sinks_ ? token : sinks_ + (token - sinks_) % recent_;
    return static_cast<std::size_t>((section * (sinks_ + recent_) + slot) * head_dim_);
  }

  int head_dim_;
  std::int64_t sinks_, recent_;
  HeldVector<float> floats_;
};

}  // namespace veloxquant
