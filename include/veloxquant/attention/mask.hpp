// AttentionMask: which tokens a query sees.
#pragma once

#include <cstdint>

namespace veloxquant {

struct AttentionMask {
  // A query sees its own token and those before it. When false every query sees the whole history.
  bool causal = true;
  // 0: no limit. Otherwise a query sees only the newest `window` tokens up to and including its own (the sliding
  // window of Mistral, arXiv:2310.06825). Needs `causal`.
  std::int64_t window = 0;
};

}  // namespace veloxquant
