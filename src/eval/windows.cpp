#include <veloxquant/eval/windows.hpp>

#include <fmt/format.h>

#include <veloxquant/core/error.hpp>

#include "core/counted.hpp"

namespace veloxquant {

std::vector<TokenIds> cut_windows(std::span<const std::uint32_t> ids, std::optional<std::uint32_t> bos,
                                  std::int64_t seq_len, std::int64_t skip, std::int64_t count) {
  if (seq_len < 2)
    throw ConfigError("windows", fmt::format("seq_len is {}; a window has 2 tokens or more", seq_len));
  if (skip < 0) throw ConfigError("windows", fmt::format("skip is {}; it is 0 or more", skip));
  if (count < 1) throw ConfigError("windows", fmt::format("{} windows asked for; it is 1 or more", count));

  const auto available = static_cast<std::int64_t>(ids.size());
  const std::int64_t text_tokens = bos ? seq_len - 1 : seq_len;
  if (skip > available || available - skip < text_tokens) {
    throw ConfigError("windows",
                      fmt::format("the text has {}, and a window of {} after the first {} needs {}; "
                                  "shorten the windows or give a longer text",
                                  counted(available, "token"), seq_len, skip, text_tokens));
  }
  std::vector<TokenIds> windows;
  for (std::int64_t begin = skip; available - begin >= text_tokens && std::ssize(windows) < count;
       begin += seq_len) {
    TokenIds& window = windows.emplace_back();
    window.reserve(static_cast<std::size_t>(seq_len));
    if (bos) window.push_back(*bos);
    const auto text = ids.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(text_tokens));
    window.insert(window.end(), text.begin(), text.end());
  }
  return windows;
}

}  // namespace veloxquant
