// Finds added tokens in text: leftmost first, the longest of those that begin at one place.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/tokenizer_tables.hpp"

namespace veloxquant::tokenizing {

class AddedTokenFinder {
 public:
  struct Match {
    std::size_t begin, end;
    std::uint32_t id;
  };

  // Contents are not empty. Throws ModelError when two are the same.
  explicit AddedTokenFinder(const std::vector<std::pair<std::string, std::uint32_t>>& content_and_id);

  // The first match that begins at `from` or later.
  std::optional<Match> find(std::string_view text, std::size_t from) const noexcept;

 private:
  static constexpr std::uint32_t kNone = static_cast<std::uint32_t>(-1);

  std::array<bool, 256> is_first_byte_{};
  PairMap children_;                  // node << 8 | byte -> node; the root is 0
  std::vector<std::uint32_t> id_of_;  // of the token that ends at a node, or kNone
};

}  // namespace veloxquant::tokenizing
