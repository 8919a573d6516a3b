#include "models/tokenizer_added.hpp"

#include <fmt/format.h>

#include "models/tokenizer_json.hpp"

namespace veloxquant::tokenizing {
namespace {

std::uint64_t edge(std::uint64_t node, char byte) { return node << 8 | static_cast<std::uint8_t>(byte); }

}  // namespace

AddedTokenFinder::AddedTokenFinder(const std::vector<std::pair<std::string, std::uint32_t>>& content_and_id) {
  std::size_t bytes = 0;
  for (const auto& [content, id] : content_and_id) bytes += content.size();
  children_.reserve(bytes);
  id_of_.push_back(kNone);
  for (const auto& [content, id] : content_and_id) {
    is_first_byte_[static_cast<std::uint8_t>(content.front())] = true;
    std::uint64_t node = 0;
    for (const char byte : content) {
      if (children_.insert(edge(node, byte), id_of_.size())) id_of_.push_back(kNone);
      node = *children_.find(edge(node, byte));
    }
    if (id_of_[node] != kNone) {
      refuse_damaged(fmt::format("added tokens {} and {} have the same content {}", id_of_[node], id,
                                 shown(std::string_view(content))));
    }
    id_of_[node] = id;
  }
}

std::optional<AddedTokenFinder::Match> AddedTokenFinder::find(std::string_view text,
                                                              std::size_t from) const noexcept {
  for (std::size_t begin = from; begin < text.size(); ++begin) {
    if (!is_first_byte_[static_cast<std::uint8_t>(text[begin])]) continue;
    std::optional<Match> longest;
    const std::uint64_t* node = children_.find(edge(0, text[begin]));
    for (std::size_t end = begin + 1; node != nullptr; ++end) {
      if (id_of_[*node] != kNone) longest = Match{begin, end, id_of_[*node]};
      node = end < text.size() ? children_.find(edge(*node, text[end])) : nullptr;
    }
    if (longest) return longest;
  }
  return std::nullopt;
}

}  // namespace veloxquant::tokenizing
