#include "io/quote.hpp"

#include <fmt/format.h>

namespace veloxquant::io {

std::string quote(std::string_view text) {
  constexpr std::size_t kLongest = 160;
  std::size_t shown = text.size();
  if (shown > kLongest) {
    shown = kLongest;
    while (shown > 0 && (static_cast<unsigned char>(text[shown]) & 0xc0) == 0x80)
      --shown;  // keep UTF-8 whole
  }
  std::string result = "'";
  for (const char c : text.substr(0, shown)) {
    if (is_control(c))
      result += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      result += c;
  }
  return result + (shown < text.size() ? fmt::format("...' ({} bytes)", text.size()) : "'");
}

}  // namespace veloxquant::io
