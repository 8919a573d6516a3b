// The windows of a text on which perplexity is measured.
//
// Window w is [BOS] + ids[s : s + S - 1] with s = skip + w * S, S tokens in all; position i predicts token i
// + 1, so that S - 1 tokens count. A model without a BOS token gets ids[s : s + S]. Windows are whole: what
// is left at the end of the text is not used.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace veloxquant {

using TokenIds = std::vector<std::uint32_t>;

// At most `count` windows; fewer when the text ends before. Throws ConfigError when there is not even one, or
// for a seq_len below 2, a negative skip or a count below 1.
std::vector<TokenIds> cut_windows(std::span<const std::uint32_t> ids, std::optional<std::uint32_t> bos,
                                  std::int64_t seq_len, std::int64_t skip, std::int64_t count);

}  // namespace veloxquant
