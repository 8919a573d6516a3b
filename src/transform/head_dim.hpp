// Head sizes that transforms and codes serve, checked in one place.
#pragma once

#include <fmt/format.h>

#include <veloxquant/core/error.hpp>

namespace veloxquant {

// Rows are worked on in buffers of this size on the stack.
inline constexpr int kMaxHeadDim = 4096;

// Throws ConfigError in the name of `operation` unless head_dim is even and in [2, kMaxHeadDim].
inline void require_head_dim(int head_dim, const char* operation) {
  if (head_dim < 2 || head_dim > kMaxHeadDim || head_dim % 2 != 0)
    throw ConfigError(operation, fmt::format("head_dim is {}, but must be an even number from 2 to {}",
                                             head_dim, kMaxHeadDim));
}

}  // namespace veloxquant
